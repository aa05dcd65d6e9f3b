#!lua flags=allow-oom
-- Renews a member's session and brings its group's lanes to where they belong.
-- KEYS[1]: the topic's settings (T); everything else is derived under its hash tag, see the parts.
-- KEYS[2]: the family's counters.
-- ARGV: group number · member · sessionMs.
-- Answers {'gone'} when there is no such topic, {'group'} when the group was removed, {'ended'} when the member's session has
-- ended; else as `reportTo` of groups.part.lua.

-- include: partition.part.lua
-- include: lane.part.lua
-- include: groups.part.lua

local topic, group, id = KEYS[1], ARGV[1], ARGV[2]
if call('EXISTS', topic) == 0 then
  return { 'gone' }
end
local now = clock()
removeEnded(topic, now)
local key = topic .. ':g' .. group
if call('EXISTS', key) == 0 then
  return { 'group' }
end
local ends = tonumber(call('ZSCORE', key .. ':m', id))
if not ends or ends <= now then
  balance(topic, KEYS[2], group, now)
  return { 'ended' }
end
local sessionEnds = text(now + tonumber(ARGV[3]))
call('ZADD', key .. ':m', sessionEnds, id)
call('ZADD', topic .. ':e', 'XX', sessionEnds, group)
local byId, revoked, soonest = balance(topic, KEYS[2], group, now)
return reportTo(id, byId, revoked, soonest, now)
