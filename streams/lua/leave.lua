-- Ends a run that was in force before another: the tables were taken back to an older copy.
-- KEYS: the run marker. ARGV: the older run.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 1
