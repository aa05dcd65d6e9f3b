-- Carries out operations on leased names, one after the other.
-- KEYS    as lease.part.lua says, the first of each operation's name
-- ARGV    channel of who asks, where it hears of its turn · for how long it is then believed to wait, in ms · channels of those who watch a name, up to the
--         name · then of each operation one of
--         'a', or 'w' when it waits · holder · weight · capacity · ttl in ms · 1 and data, or 0: acquire
--         'r', or 'p' when only its place in the queue is given up · holder: release
--         'n' · holder · token · ttl in ms: renew
-- Answers for each what the part of that name says, or -1 and the server's error

-- include: lease.part.lua
local own_channel, patience, watchers = ARGV[1], tonumber(ARGV[2]), ARGV[3]

-- include: acquire.part.lua
-- include: release.part.lua
-- include: renew.part.lua

local takes = { a = 6, w = 6, r = 2, p = 2, n = 4 }

local function operate(kind, at)
  local holder = ARGV[at + 1]
  if takes[kind] == 2 then return release(holder, kind == 'p') end
  if kind == 'n' then return renew(holder, tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])) end
  local weight, capacity, ttl = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  return acquire(holder, weight, capacity, ttl, ARGV[at + 5], kind == 'w')
end

local answers, at = {}, 4
for i = 1, #KEYS do
  look_at(KEYS[i])
  local kind = ARGV[at]
  local ok, answer = pcall(operate, kind, at)
  -- A server that takes nothing more refuses one, and still lets another give up what it has.
  answers[i] = ok and answer or { -1, type(answer) == 'table' and answer.err or tostring(answer) }
  at = at + takes[kind]
end
return answers
