-- Takes a holder out of a name, whether or not this server has a vote.
-- KEYS    as grant.part.lua says
-- ARGV    holder · channel of those who watch the name · '1' when what is confirmed stays
-- Answers {'ok'}

-- include: grant.part.lua

local holder = ARGV[1]
local state = load(holder)
if state.own and not (state.own.confirmed and ARGV[3] == '1') then
  call('HDEL', KEYS[1], 'h' .. holder)
  if state.weight == 0 then call('DEL', KEYS[1]) end
  call('PUBLISH', ARGV[2], '')
end
return { 'ok' }
