-- Answers the next epoch of a writer's name. Not below the clock, so that one that a crash has lost is not given again.
-- KEYS[1]: the last one.

local time = redis.call('TIME')
local last = tonumber(redis.call('GET', KEYS[1])) or 0
local epoch = string.format('%.0f', math.max(last + 1, time[1] * 1000000 + time[2]))
redis.call('SET', KEYS[1], epoch)
return epoch
