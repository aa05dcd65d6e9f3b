#!lua flags=allow-oom
-- An owner gives its lane back. Idempotent.
-- KEYS[1]: the topic's settings (T); everything else is derived under its hash tag, see the parts.
-- KEYS[2]: the family's counters.
-- ARGV: group number · partition · fence · 1 when all is in order, 0 when what was fetched is suspect.
-- Answers {}.

-- include: partition.part.lua
-- include: lane.part.lua
-- include: groups.part.lua

local topic, group, number = KEYS[1], ARGV[1], ARGV[2]
if call('HGET', topic .. ':g' .. group .. ':' .. number, 'x') == ARGV[3] then
  takeLane(topic, group, number, ARGV[4] == '1')
  announce(topic, group)
  balance(topic, KEYS[2], group, clock())
end
return {}
