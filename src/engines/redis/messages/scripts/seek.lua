-- Sets a group's positions; every lane that is owned is lost to its owner and granted anew.
-- KEYS[1]: the topic's settings (T); everything else is derived under its hash tag, see the parts.
-- KEYS[2]: the family's counters.
-- ARGV: group · target as positions.part.lua says.
-- Answers {}, {'gone'} when there is no such topic, {'group'} when it has no such group.

-- include: partition.part.lua
-- include: lane.part.lua
-- include: positions.part.lua
-- include: groups.part.lua

local topic = KEYS[1]
if call('EXISTS', topic) == 0 then
  return { 'gone' }
end
local group = call('HGET', topic .. ':g', ARGV[1])
if not group then
  return { 'group' }
end
local now = clock()
local target = readTarget(2)
eachPartition(topic, now, function(partition)
  takeLane(topic, group, partition.number, true)
  moveLane(topic, group, partition.number, target(partition))
  trim(partition, now)
end)
call('HDEL', topic, 'u')
announce(topic, group)
balance(topic, KEYS[2], group, now)
return {}
