-- Reads entries, all as of one instant.
-- KEYS[1] entries   hash: name -> version (f64) .. expires at in ms (f64, inf: never) .. value
-- ARGV    the names
-- Answers the entries in the order of the names; nil for one that is not there or has expired.
local time = redis.call('TIME')
local now = math.floor((time[1] * 1000000 + time[2]) / 1000)
local found = {}
for index = 1, #ARGV do
  local raw = redis.call('HGET', KEYS[1], ARGV[index])
  if raw and select(2, struct.unpack('<dd', raw)) <= now then raw = false end
  found[index] = raw
end
return found
