-- Lanes: what a group has settled of a partition. A part that other scripts begin with; needs partition.part.lua.
--
--   T:g<g>:<p>    hash    l everything below is settled · b the position of bit 0 · c what an owner fetched, up to here
--                         · s what is suspect, up to here · x the fence of the grant; absent: nobody owns it
--   T:g<g>:<p>:b  string  one bit per position from `b` on: settled; absent while nothing above `l` is settled
--   T:g<g>:<p>:h  hash    held entries by position

local function laneOf(topic, group, number)
  local key = topic .. ':g' .. group .. ':' .. number
  local fields = call('HMGET', key, 'l', 'b', 'x')
  return {
    key = key,
    low = tonumber(fields[1]) or 0,
    base = tonumber(fields[2]),
    fence = fields[3],
  }
end

local function setBits(key, from, to)
  while from < to and from % 8 ~= 0 do
    call('SETBIT', key, text(from), 1)
    from = from + 1
  end
  local bytes = math.floor((to - from) / 8)
  if bytes > 0 then
    call('SETRANGE', key, text(from / 8), string.rep('\255', bytes))
    from = from + bytes * 8
  end
  while from < to do
    call('SETBIT', key, text(from), 1)
    from = from + 1
  end
end

-- Settles the positions from `from` to below `to`; `saveLane` ends a series of these.
local function settle(lane, from, to)
  if from < lane.low then
    from = lane.low
  end
  if from >= to then
    return
  end
  lane.changed = true
  if not lane.base then
    if from == lane.low then
      lane.low = to
      return
    end
    lane.base = lane.low
  end
  lane.bitsChanged = true
  setBits(lane.key .. ':b', from - lane.base, to - lane.base)
end

local function saveLane(lane)
  if not lane.changed then
    return
  end
  if lane.bitsChanged then
    local bits = lane.key .. ':b'
    -- All bits below `low` are set, so the first one that is not set is the lowest unsettled position.
    local set = call('BITPOS', bits, 0, text(math.floor((lane.low - lane.base) / 8)))
    lane.low = lane.base + set
    if call('BITCOUNT', bits) == set then
      call('DEL', bits)
      lane.base = nil
    elseif set > 16384 and set > call('STRLEN', bits) * 4 then
      local bytes = math.floor(set / 8)
      call('SET', bits, call('GETRANGE', bits, bytes, -1))
      lane.base = lane.base + bytes * 8
    end
    if not lane.base then
      call('HDEL', lane.key, 'b')
    else
      call('HSET', lane.key, 'b', text(lane.base))
    end
  end
  call('HSET', lane.key, 'l', text(lane.low))
end

local function isSettled(lane, position)
  if position < lane.low then
    return true
  end
  return lane.base ~= nil and call('GETBIT', lane.key .. ':b', text(position - lane.base)) == 1
end

-- How many positions above `low` are settled.
local function settledAbove(lane)
  if not lane.base then
    return 0
  end
  return call('BITCOUNT', lane.key .. ':b') - (lane.low - lane.base)
end

-- Settles all below a position, whoever owns the lane.
local function settleAllBelow(topic, group, number, position)
  local lane = laneOf(topic, group, number)
  if lane.low >= position then
    return
  end
  settle(lane, lane.low, position)
  saveLane(lane)
  local held = lane.key .. ':h'
  for _, heldPosition in ipairs(call('HKEYS', held)) do
    if tonumber(heldPosition) < lane.low then
      call('HDEL', held, heldPosition)
    end
  end
end

-- Puts a lane to a position, as if everything below and nothing above were settled; `nil`: it stays where it is. What was held
-- is forgotten.
local function moveLane(topic, group, number, position)
  local key = topic .. ':g' .. group .. ':' .. number
  call('UNLINK', key .. ':h')
  if position then
    call('UNLINK', key .. ':b')
    call('HDEL', key, 'b')
    call('HSET', key, 'l', text(position))
  end
end
