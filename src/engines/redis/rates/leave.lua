-- Gives a permit back.
-- KEYS[1] as in enter.lua
-- ARGV    permit
-- Answers whether it was there

local gone = redis.call('ZREM', KEYS[1], 'p' .. ARGV[1])
-- Only the instant of the last change is left.
if gone == 1 and redis.call('ZCARD', KEYS[1]) == 1 then redis.call('DEL', KEYS[1]) end
return gone
