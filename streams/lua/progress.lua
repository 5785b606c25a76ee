-- Progress of the partitions of one process, only into the run that it has joined: an emptied table must not
-- look consumed. Each call, and each row that is written (cas.lua), counts the process's own mark up. A process
-- that finds a lower mark than the last one it knows of knows that the tables were taken back to an older copy:
-- what was written since is missing, so the run ends here. A mark that all share would be counted up again by the
-- others before its writer looks.
-- KEYS: the table, the run marker, the process's mark. ARGV: run, the last mark that the process knows of, for how
-- many seconds the mark is kept, then field and value in turn.
-- Answers the new mark, -1 for another run, -2 for an older copy.
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return -1
end
if tonumber(redis.call('GET', KEYS[3]) or '0') < tonumber(ARGV[2]) then
  redis.call('DEL', KEYS[2])
  return -2
end
for i = 4, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
end
local mark = redis.call('INCR', KEYS[3])
redis.call('EXPIRE', KEYS[3], ARGV[3])
return mark
