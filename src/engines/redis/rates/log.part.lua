-- A list of what was taken: instant, units, instant, units, …, oldest first; its last element says how many units that is.
-- Instants only grow; what they count, milliseconds or parts of a window, and how long one counts is up to who includes this.
local key, newest, newest_units, counted
local chunk = 64

local function clear()
  call('DEL', key)
  newest, newest_units, counted = -math.huge, 0, 0
end

local function add(at, taken)
  local total = counted + taken
  if newest == at then
    newest_units = newest_units + taken
    call('LSET', key, -2, newest_units)
    call('LSET', key, -1, total)
  else
    if counted > 0 then
      call('LSET', key, -1, at)
      call('RPUSH', key, taken, total)
    else
      call('RPUSH', key, at, taken, total)
    end
    newest, newest_units = at, taken
  end
  counted = counted + taken
end

-- Takes out the oldest for which it holds; never the newest.
local function drop_while(holds)
  -- Mostly the oldest stays already.
  local dropped, size = 0, 3
  repeat
    local wanted = size * 2
    local pairs_read = call('LRANGE', key, 0, wanted - 1)
    local out = 0
    while out + 4 < #pairs_read and holds(tonumber(pairs_read[out + 1]), tonumber(pairs_read[out + 2])) do
      counted = counted - tonumber(pairs_read[out + 2])
      out = out + 2
    end
    if out > 0 then call('LPOP', key, out) end
    dropped = dropped + out
    size = chunk
  until out + 4 < wanted
  if dropped > 0 then call('LSET', key, -1, counted) end
end

-- Reads what counts of a key at this instant; answers whether the clock was set back, and all of it counts as taken at this instant.
local function open(of, at, is_out)
  key, newest, newest_units, counted = of, -math.huge, 0, 0
  local tail = call('LRANGE', key, -3, -1)
  if not tail[3] then return false end
  newest, newest_units, counted = tonumber(tail[1]), tonumber(tail[2]), tonumber(tail[3])
  if newest > at then
    local all = counted
    clear()
    add(at, all)
    return true
  end
  if is_out(newest) then clear() else drop_while(is_out) end
  return false
end

-- The newest instant that has to be out until at most so many units count.
local function last_out(most)
  local left, from = counted, 0
  while true do
    local pairs_read = call('LRANGE', key, from, from + chunk * 2 - 1)
    for i = 1, #pairs_read - 1, 2 do
      left = left - tonumber(pairs_read[i + 1])
      if left <= most then return tonumber(pairs_read[i]) end
    end
    if #pairs_read < chunk * 2 then return newest end
    from = from + chunk * 2
  end
end
