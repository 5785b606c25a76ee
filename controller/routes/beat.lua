-- Confirms the projection that is there: says that its leader is alive and can write.
-- KEYS: the hash of routes. ARGV: lineage, epoch, seq, the field, its value.
-- Returns 1, or 0 when another publication is stored.
local stored = redis.call('HMGET', KEYS[1], 'lineage', 'epoch', 'seq')
if stored[1] ~= ARGV[1] or stored[2] ~= ARGV[2] or stored[3] ~= ARGV[3] then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[4], ARGV[5])
return 1
