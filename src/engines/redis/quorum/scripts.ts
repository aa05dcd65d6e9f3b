// Made by scripts/lua.ts from the .lua files of this folder; edit those.
import type { Script } from "../script.ts";

const grantPart = `-- A leased name on one server of a quorum, shared by the scripts of this folder.
--   KEYS[1] name    hash: m the last token that was confirmed ·
--                   h<holder>  token, weight, capacity, ttl, end, 1 once it is confirmed (f64 each) .. data, behind a byte that says whether there is any;
--                              what is only reserved has the token that its own must be greater than
--   KEYS[2] token   the greatest that this server has confirmed; never goes
--   KEYS[3] server  hash: run the process that votes · from when its votes count; never goes
-- Instants are ms since the epoch by this server's clock, with their fraction.
local call = redis.call
local time = call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now = now_us / 1000
local grant_format = '<dddddd'

local function text(number)
  return string.format('%.17g', number)
end

-- Why this server has no vote: it was restarted, and nobody has looked yet at what that means, or it may have lost what it had granted.
local function abstention()
  local server = call('HMGET', KEYS[3], 'run', 'from')
  if server[1] ~= string.match(call('INFO', 'server'), 'run_id:(%x+)') then return { 'restarted' } end
  local from = tonumber(server[2])
  if from > now then return { 'away', text(from - now) } end
  return nil
end

-- What there is of the name, with the holder's own part apart; what has ended is taken out.
local function load(holder)
  local state = { weight = 0, last = 0, lasts = 0 }
  local all = call('HGETALL', KEYS[1])
  for i = 1, #all, 2 do
    if all[i] == 'm' then
      state.last = tonumber(all[i + 1])
    else
      local token, weight, capacity, ttl, till, confirmed, after = struct.unpack(grant_format, all[i + 1])
      if till <= now then
        call('HDEL', KEYS[1], all[i])
      elseif string.sub(all[i], 2) == holder then
        state.own = {
          token = token,
          weight = weight,
          capacity = capacity,
          ttl = ttl,
          till = till,
          confirmed = confirmed == 1,
          data = string.sub(all[i + 1], after),
        }
      else
        state.weight = state.weight + weight
        state.lasts = math.max(state.lasts, till)
      end
    end
  end
  return state
end

local function hold(state, holder, grant)
  local confirmed = grant.confirmed and 1 or 0
  local packed = struct.pack(grant_format, grant.token, grant.weight, grant.capacity, grant.ttl, grant.till, confirmed)
  call('HSET', KEYS[1], 'h' .. holder, packed .. grant.data)
  call('PEXPIREAT', KEYS[1], string.format('%.0f', math.max(state.lasts, grant.till) + 1000))
end

-- Every token that this server gives from now on is greater.
local function count(token)
  if token > (tonumber(call('GET', KEYS[2])) or 0) then call('SET', KEYS[2], string.format('%.0f', token)) end
end
`;

export const admit: Script = {
  name: "quorum/admit",
  sha: "fe4b4a12af5f60be13634dc8bb4ef781e4ea5cc2",
  source: `-- Says from when on a server that was started votes: one that may have lost what it had granted stays away until all of that has ended.
-- KEYS[1] server, as grant.part.lua says
-- ARGV    '1' when everything that it confirmed survives its restart · for how many ms it stays away otherwise · '1' when an empty server is new
-- Answers {for how many ms it stays away, from now on}

local call = redis.call
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local run = string.match(call('INFO', 'server'), 'run_id:(%x+)')
local server = call('HMGET', KEYS[1], 'run', 'from')
local from = tonumber(server[2])
if server[1] ~= run then
  local keeps = from and ARGV[1] == '1' or not from and ARGV[3] == '1'
  if not keeps then from = now + tonumber(ARGV[2]) end
  from = from or now
  call('HSET', KEYS[1], 'run', run, 'from', string.format('%.0f', from))
end
return { string.format('%.0f', math.max(0, from - now)) }
`,
};

export const confirm: Script = {
  name: "quorum/confirm",
  sha: "de1ffa23a680053f83b089d5c1161b0064abdeda",
  source: `-- Gives what was reserved the token that the quorum has agreed on, and its full time from now on. The tokens that this server confirms for a name
-- only grow, so that of two that were confirmed by majorities one is greater.
-- KEYS    as grant.part.lua says
-- ARGV    holder · token · how long it is kept, in ms · channel of those who watch the name
-- Answers {'ok'}, {'gone'}, {'stale', a token that it must be greater than}, {'restarted'}, or {'away', for how many ms}

${grantPart}
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
`,
};

export const describe: Script = {
  name: "quorum/describe",
  sha: "72e15844007723467a73f8a41a9fb661679954e1",
  source: `-- Who holds a name, as far as it is confirmed.
-- KEYS    as grant.part.lua says
-- Answers {'ok', now, then for each holder: holder, token, weight, ttl, end, 1 and its data or 0}, {'restarted'}, or {'away', for how many ms}

${grantPart}
local silent = abstention()
if silent then return silent end
local answer, all = { 'ok', text(now) }, call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  if all[i] ~= 'm' then
    local token, weight, _, ttl, till, confirmed, after = struct.unpack(grant_format, all[i + 1])
    if confirmed == 1 and till > now then
      local data = string.sub(all[i + 1], after)
      for _, part in ipairs({ string.sub(all[i], 2), text(token), text(weight), text(ttl), text(till), data }) do
        answer[#answer + 1] = part
      end
    end
  end
end
return answer
`,
};

export const release: Script = {
  name: "quorum/release",
  sha: "79976a4906ed630e5648e34963659f6109a7e809",
  source: `-- Takes a holder out of a name, whether or not this server has a vote.
-- KEYS    as grant.part.lua says
-- ARGV    holder · channel of those who watch the name · '1' when what is confirmed stays
-- Answers {'ok'}

${grantPart}
local holder = ARGV[1]
local state = load(holder)
if state.own and not (state.own.confirmed and ARGV[3] == '1') then
  call('HDEL', KEYS[1], 'h' .. holder)
  if state.weight == 0 then call('DEL', KEYS[1]) end
  call('PUBLISH', ARGV[2], '')
end
return { 'ok' }
`,
};

export const renew: Script = {
  name: "quorum/renew",
  sha: "54da4d7b5df8e77ee150542c1b2d14b2c32c43af",
  source: `-- Gives a holder its full time to live again.
-- KEYS    as grant.part.lua says
-- ARGV    holder · token · ttl in ms · how long it is kept, in ms · 1 and data, or 0, or '' when the data stays
-- Answers {'ok', weight, capacity, data}, {'gone'} when it does not hold the name under this token, {'restarted'}, or {'away', for how many ms}

${grantPart}
local silent = abstention()
if silent then return silent end
local holder = ARGV[1]
local state = load(holder)
local own = state.own
if not own or not own.confirmed or own.token ~= tonumber(ARGV[2]) then return { 'gone' } end
own.ttl = tonumber(ARGV[3])
own.till = now + tonumber(ARGV[4])
if ARGV[5] ~= '' then own.data = ARGV[5] end
hold(state, holder, own)
return { 'ok', text(own.weight), text(own.capacity), own.data }
`,
};

export const reserve: Script = {
  name: "quorum/reserve",
  sha: "70060d262e9eaf99cdcfb5cab1eef1e932e7620d",
  source: `-- Keeps a name for a holder until it is confirmed under a token that is greater than all before it on this server.
-- KEYS    as grant.part.lua says
-- ARGV    holder · weight · capacity · ttl in ms · how long it is kept, in ms · 1 and data, or 0
-- Answers {'granted', the token that it proposes}, {'again', the greatest token of this server, the holder's token} when it holds the name already, {'differs', weight, capacity} when it does with others, {'no'},
--         {'restarted'}, or {'away', for how many ms}

${grantPart}
local silent = abstention()
if silent then return silent end
local holder, weight, capacity = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local state = load(holder)
local own = state.own
if own and own.confirmed then
  if own.weight ~= weight or own.capacity ~= capacity then return { 'differs', text(own.weight), text(own.capacity) } end
  return { 'again', text(math.max(own.token, tonumber(call('GET', KEYS[2])) or 0)), text(own.token) }
end
if state.weight + weight > capacity then return { 'no' } end
local greatest = tonumber(call('GET', KEYS[2])) or 0
hold(state, holder, {
  token = greatest,
  weight = weight,
  capacity = capacity,
  ttl = tonumber(ARGV[4]),
  till = now + tonumber(ARGV[5]),
  confirmed = false,
  data = ARGV[6],
})
-- Not below the clock: a token that this server has lost is not proposed again.
return { 'granted', text(math.max(greatest + 1, now_us)) }
`,
};

export const restore: Script = {
  name: "quorum/restore",
  sha: "9dabc41860e4b6f3ce1b1484c3d142a872e22cf0",
  source: `-- Lets this server, which has not got it, hold what a majority holds at this moment.
-- KEYS    as grant.part.lua says
-- ARGV    holder · token · weight · capacity · ttl in ms · how long it is kept, in ms · 1 and data, or 0 · channel of those who watch the name
-- Answers {'ok'}, {'no'} when it does not fit, {'restarted'}, or {'away', for how many ms}

${grantPart}
local silent = abstention()
if silent then return silent end
local holder, token, weight, capacity = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local state = load(holder)
if state.weight + weight > capacity then return { 'no' } end
hold(state, holder, {
  token = token,
  weight = weight,
  capacity = capacity,
  ttl = tonumber(ARGV[5]),
  till = now + tonumber(ARGV[6]),
  confirmed = true,
  data = ARGV[7],
})
if token > state.last then call('HSET', KEYS[1], 'm', text(token)) end
count(token)
call('PUBLISH', ARGV[8], '')
return { 'ok' }
`,
};
