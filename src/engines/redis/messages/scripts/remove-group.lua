#!lua flags=allow-oom
-- Deletes a group with its progress.
-- KEYS[1]: the topic's settings (T); everything else is derived under its hash tag, see the parts.
-- ARGV: group.
-- Answers {}, {'gone'} when there is no such topic, {'group'} when it has no such group.

-- include: partition.part.lua
-- include: lane.part.lua
-- include: groups.part.lua

local topic = KEYS[1]
if call('EXISTS', topic) == 0 then
  return { 'gone' }
end
local group = call('HGET', topic .. ':g', ARGV[1])
if not group then
  return { 'group' }
end
removeGroup(topic, ARGV[1], group)
trimAll(topic, clock())
return {}
