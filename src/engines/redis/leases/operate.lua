-- Carries out operations on leased names, one after the other.
-- KEYS    the first of each operation's name
-- ARGV    of each operation one of
--         'a' · channel of those who watch the name · owner · '/' weight '/' capacity '/' 1 and data, or 0 · ttl in ms · where the owner hears of its turn,
--         or nothing when it does not wait: acquire
--         'r', or 'p' when only its place in the queue is given up · channel of those who watch · owner: release
--         'h' · channel of those who watch · owner · how many of its process wait for the name · for each owner · share · ttl, as above: release, and grant it
--         to those of them whose turn it is
--         'n' · channel of those who watch · owner · token · ttl in ms: renew
-- Answers for each what the part of that name says, or -1 and the server's error. A single operation's answer stands alone.

local call = redis.call

-- For names that several hold or wait for. Made when it is needed: every function costs time whenever the script runs, as do calls and numbers that become text.
local in_full

-- How a name that one holder has alone looks, lease.part.lua says.
local function operate(key, at)
  local kind, channel, owner = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  if kind == 'a' then
    -- A name that nobody holds or waits for. A token is a number that is not below the clock: one that a crash or a failover has lost is not given again.
    local time, share, ttl = call('TIME'), ARGV[at + 3], ARGV[at + 4]
    local token = time[1] .. string.sub('00000' .. time[2], -6)
    if call('SET', key, owner .. '/' .. token .. share, 'PX', ttl, 'NX') then
      local token_key = string.sub(key, 1, string.find(key, '}', 1, true)) .. ':token'
      local last = call('SET', token_key, token, 'GET')
      if last and (#last ~= #token or last >= token) then
        -- The clock was set back, or has not gone on.
        token = string.format('%.0f', math.max(last + 1, token))
        call('SET', token_key, token)
        call('SET', key, owner .. '/' .. token .. share, 'PX', ttl)
      end
      call('PUBLISH', channel, '')
      return tonumber(token)
    end
  elseif kind == 'r' then
    -- The only holder. Of a hash MGET answers nothing, where GET would fail.
    local alone = call('MGET', key)[1]
    if alone and string.find(alone, owner, 1, true) == 1 then
      call('DEL', key)
      call('PUBLISH', channel, '')
      return 1
    end
  end
  in_full = in_full or (function()
-- include: lease.part.lua
-- include: acquire.part.lua
-- include: release.part.lua
-- include: renew.part.lua
    return function(key, kind, at)
      look_at(key, ARGV[at + 1])
      local owner = ARGV[at + 2]
      if kind == 'a' then return acquire(owner, ARGV[at + 3], tonumber(ARGV[at + 4]), ARGV[at + 5]) end
      if kind == 'n' then return renew(owner, tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])) end
      return release(owner, kind == 'p', kind == 'h' and at + 3)
    end
  end)()
  return in_full(key, kind, at)
end

if #KEYS == 1 then return operate(KEYS[1], 1) end

local takes = { a = 6, r = 3, p = 3, n = 5 }
local answers, at = {}, 1
for i = 1, #KEYS do
  local ok, answer = pcall(operate, KEYS[i], at)
  -- A server that takes nothing more refuses one, and still lets another give up what it has.
  answers[i] = ok and answer or { -1, type(answer) == 'table' and answer.err or tostring(answer) }
  local kind = ARGV[at]
  at = at + (kind == 'h' and 4 + 3 * ARGV[at + 3] or takes[kind])
end
return answers
