-- Progress of the partitions of one process, only into the run that it has joined: an emptied table must not
-- look consumed.
-- KEYS: the table, the run marker. ARGV: run, then field and value in turn. Answers 1, or -1 for another run.
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return -1
end
for i = 2, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
end
return 1
