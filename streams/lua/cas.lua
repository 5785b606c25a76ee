-- One compare-and-set of one row.
-- KEYS: the table, the run marker
-- ARGV: run ('' skips the check: a rebuild), field, expected head ('' for none), value, channel, hint ('' for none)
-- Answers {1} accepted, {0, what is there} refused, {-1} another run.
-- Heads are compared as text: Lua numbers are doubles and would round offsets above 2^53.
if ARGV[1] ~= '' and redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return {-1}
end
local held = redis.call('HGET', KEYS[1], ARGV[2])
if ARGV[3] == '' then
  if held then return {0, held} end
elseif not held or string.sub(held, 1, #ARGV[3]) ~= ARGV[3] then
  return {0, held or ''}
end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[4])
if ARGV[6] ~= '' then
  redis.call('PUBLISH', ARGV[5], ARGV[6])
end
return {1}
