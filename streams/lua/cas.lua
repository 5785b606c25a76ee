-- One compare-and-set of one row. An accepted one counts the process's mark up, as progress.lua explains.
-- KEYS: the table, the run marker, the process's mark
-- ARGV: run ('' skips the checks: a rebuild), field, expected head ('' for none), value, channel, hint ('' for
-- none), the last mark that the process knows of, for how many seconds the mark is kept
-- Answers {1, the new mark} accepted, {0, what is there} refused, {-1} another run, {-2} an older copy.
-- Heads are compared as text: Lua numbers are doubles and would round offsets above 2^53.
if ARGV[1] ~= '' then
  if redis.call('GET', KEYS[2]) ~= ARGV[1] then
    return {-1}
  end
  if tonumber(redis.call('GET', KEYS[3]) or '0') < tonumber(ARGV[7]) then
    redis.call('DEL', KEYS[2])
    return {-2}
  end
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
if ARGV[1] == '' then
  return {1, 0}
end
local mark = redis.call('INCR', KEYS[3])
if mark == 1 then
  redis.call('EXPIRE', KEYS[3], ARGV[8])
end
return {1, mark}
