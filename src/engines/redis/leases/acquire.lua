-- Grants a name, tells what it was granted already, or takes the holder into the queue.
-- KEYS    as lease.part.lua says
-- ARGV    name · holder · weight · capacity · ttl in ms · 1 and data, or 0 · channel of those who wait, '' when it does not wait ·
--         for how long it is then believed to be alive, in ms · channel of those who watch the name
-- Answers {'granted', token}, {'again', token}, {'no'}, {'waiting', when to ask again, in ms}, or
--         {'owns' or 'waits for', weight, capacity} when those are others than asked for

-- include: lease.part.lua

local name, holder, weight, capacity = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local ttl, data, channel, patience, watchers = tonumber(ARGV[5]), ARGV[6], ARGV[7], tonumber(ARGV[8]), ARGV[9]
local state = load(holder)
local ended = sweep(state)

local function hold(token)
  local till = now + ttl
  call('HSET', KEYS[1], 'h' .. holder, struct.pack(grant_format, token, weight, capacity, ttl, till) .. data)
  if till < state.ends then state.ends = till end
  keep(state, till)
end

local function differs(does, own_weight, own_capacity)
  if own_weight == weight and own_capacity == capacity then return nil end
  -- What has ended is taken out all the same.
  save(state)
  return { does, text(own_weight), text(own_capacity) }
end

if state.own then
  local token, own_weight, own_capacity, _, till = struct.unpack(grant_format, state.own)
  if till > now then
    local other = differs('owns', own_weight, own_capacity)
    if other then return other end
    hold(token)
    save(state)
    return { 'again', text(token) }
  end
end
if state.place then
  local _, own_weight, own_capacity = struct.unpack(waiter_format, state.place)
  local other = differs('waits for', own_weight, own_capacity)
  if other then return other end
end

local first = head(state)
local answer
if (not first or first.holder == holder) and fits(state, weight, capacity) then
  if first then leave_queue(state, holder) end
  -- Not below the clock: a token that a crash or a failover has lost is not given again.
  local token = math.max((tonumber(call('GET', KEYS[3])) or 0) + 1, now_us)
  call('SET', KEYS[3], string.format('%.0f', token))
  hold(token)
  state.weight = state.weight + weight
  ended = true
  wake(state, head(state), name)
  answer = { 'granted', text(token) }
else
  if channel ~= '' then
    local ticket
    if state.place and call('ZSCORE', KEYS[2], holder) then
      ticket = struct.unpack('<d', state.place)
    else
      ticket = call('HINCRBY', KEYS[1], 't', 1)
      call('ZADD', KEYS[2], ticket, holder)
      state.waiting = state.waiting + 1
    end
    local till = now + patience
    call('HSET', KEYS[1], 'r' .. holder, struct.pack(waiter_format, ticket, weight, capacity, till) .. channel)
    keep(state, till)
    local next = (not first or first.holder == holder) and state.ends or first.till
    answer = { 'waiting', text(math.min(next - now, patience)) }
  else
    answer = { 'no' }
  end
  if first and first.holder ~= holder then wake(state, first, name) end
end
save(state)
if ended then call('PUBLISH', watchers, '') end
return answer
