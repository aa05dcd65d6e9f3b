-- Gives what was reserved the token that the quorum has agreed on, and its full time from now on. The tokens that this server confirms for a name
-- only grow, so that of two that were confirmed by majorities one is greater.
-- KEYS    as grant.part.lua says
-- ARGV    holder · token · how long it is kept, in ms · channel of those who watch the name
-- Answers {'ok'}, {'gone'}, {'stale', a token that it must be greater than}, {'restarted'}, or {'away', for how many ms}

-- include: grant.part.lua

local silent = abstention()
if silent then return silent end
local holder, token = ARGV[1], tonumber(ARGV[2])
local state = load(holder)
local own = state.own
if not own then return { 'gone' } end
if token <= own.token or token <= state.last then return { 'stale', text(math.max(own.token, state.last)) } end
own.token = token
own.confirmed = true
own.till = now + tonumber(ARGV[3])
hold(state, holder, own)
call('HSET', KEYS[1], 'm', text(token))
count(token)
call('PUBLISH', ARGV[4], '')
return { 'ok' }
