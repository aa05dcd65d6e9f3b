-- A leased name on one server of a quorum, shared by the scripts of this folder.
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
