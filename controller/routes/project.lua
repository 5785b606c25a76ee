-- One projection of one publication: slices, manifest and generation change together or not at all.
-- KEYS: the hash of routes.
-- ARGV: lineage, epoch, seq, base ('' replaces everything), channel, hint, the lineages that this one
--       follows (separated by blanks), the number of removed fields, the removed fields, then field and value in turn.
-- Returns {1} when it was stored, {0, lineage, epoch, seq} when the stored generation refuses it.
-- Within one lineage (epoch, seq) only rises; another lineage is refused unless ours follows it. A partial
-- projection is taken only on exactly the generation it was made from (base = 'lineage epoch seq').
-- Whole numbers are compared as text (longer is larger), because Lua numbers are doubles and round above 2^53.
local function above(a, b)
  if #a ~= #b then return #a > #b end
  return a > b
end

local stored = redis.call('HMGET', KEYS[1], 'lineage', 'epoch', 'seq')
local lineage, epoch, seq = stored[1], stored[2], stored[3]
if lineage then
  local newer = above(ARGV[2], epoch) or (ARGV[2] == epoch and above(ARGV[3], seq))
  local follows = string.find(' ' .. ARGV[7] .. ' ', ' ' .. lineage .. ' ', 1, true)
  if lineage ~= ARGV[1] and not follows or lineage == ARGV[1] and not newer then
    return {0, lineage, epoch, seq}
  end
end
if ARGV[4] == '' then
  redis.call('DEL', KEYS[1])
elseif not lineage or ARGV[4] ~= lineage .. ' ' .. epoch .. ' ' .. seq then
  return {0, lineage or '', epoch or '', seq or ''}
end
redis.call('HSET', KEYS[1], 'lineage', ARGV[1], 'epoch', ARGV[2], 'seq', ARGV[3])
local first = 9 + tonumber(ARGV[8])
for i = 9, first - 1 do
  redis.call('HDEL', KEYS[1], ARGV[i])
end
for i = first, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
end
redis.call('PUBLISH', ARGV[5], ARGV[6])
return {1}
