-- Notes in the list of all topics, which is in another slot than the topics, that one was made or removed. Numbers grow within a
-- name, so that a note that comes late changes nothing.
-- KEYS[1]: all topics, a hash from name to number.
-- ARGV: topic · its number · 1 when it was made, 0 when it was removed.
-- Answers {}.
local listed = tonumber(redis.call('HGET', KEYS[1], ARGV[1])) or 0
local number = tonumber(ARGV[2])
if ARGV[3] == '1' and number > listed then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
elseif ARGV[3] == '0' and number >= listed then
  redis.call('HDEL', KEYS[1], ARGV[1])
end
return {}
