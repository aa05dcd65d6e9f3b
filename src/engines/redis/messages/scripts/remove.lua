#!lua flags=allow-oom
-- Deletes a topic. What producers were remembered by is out of reach from then on, and expires.
-- KEYS[1]: the family's topics, a hash from name to number · KEYS[2], where it is in reach: all topics, a hash from name to number.
-- ARGV: what T begins with (see declare.lua) · topic.
-- Answers {the topic's number}, or {'gone'} when there is none.

-- include: partition.part.lua
-- include: lane.part.lua
-- include: groups.part.lua

local number = call('HGET', KEYS[1], ARGV[2])
if not number then
  return { 'gone' }
end
local topic = ARGV[1] .. number
call('HDEL', KEYS[1], ARGV[2])
local groups = call('HGETALL', topic .. ':g')
for i = 1, #groups, 2 do
  removeGroup(topic, groups[i], groups[i + 1])
end
for partition = 0, tonumber(call('HGET', topic, 'n')) - 1 do
  local key = topic .. ':' .. partition
  call('UNLINK', key, key .. ':m', key .. ':d', key .. ':k')
end
local generation = tonumber(call('HGET', topic, 'ig')) or 0
call('UNLINK', topic, topic .. ':g', topic .. ':e', topic .. ':i' .. generation, topic .. ':i' .. (generation - 1))
if KEYS[2] then
  call('HDEL', KEYS[2], ARGV[2])
end
return { tonumber(number) }
