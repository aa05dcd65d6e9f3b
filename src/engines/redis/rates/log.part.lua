-- A list of what was taken: instant, units, instant, units, …, oldest first; its last element says how many units that is.
-- Instants only grow; what they count, milliseconds or parts of a window, and how long one counts is up to who includes this.
local key, newest, newest_units, counted
-- What is written once, when the key is left: the count, where it changed; the end, where the newest instant did.
local miscounted, moved
local chunk = 128

local function clear()
  call('DEL', key)
  newest, newest_units, counted = -math.huge, 0, 0
  miscounted = false
end

local function add(at, taken)
  local total = counted + taken
  if newest == at then
    newest_units = newest_units + taken
    call('LSET', key, -2, newest_units)
    miscounted = true
  else
    if counted > 0 then
      call('LSET', key, -1, at)
      call('RPUSH', key, taken, total)
    else
      call('RPUSH', key, at, taken, total)
    end
    newest, newest_units = at, taken
    miscounted, moved = false, true
  end
  counted = total
end

-- Takes out the oldest for which it holds; never the newest. `read`: the first items, where they were read already, of so many that were wanted.
local function drop_while(holds, read, wanted)
  wanted = wanted or chunk
  while true do
    read = read or call('LRANGE', key, 0, wanted - 1)
    local out = 0
    while out + 4 < #read and holds(tonumber(read[out + 1]), tonumber(read[out + 2])) do
      counted = counted - tonumber(read[out + 2])
      out = out + 2
    end
    if out > 0 then
      call('LPOP', key, out)
      miscounted = true
    end
    if out + 4 < wanted then return end
    read, wanted = nil, chunk
  end
end

-- Reads what counts of a key at this instant; where the clock was set back, all of it counts as taken at this instant. Whoever has no more than
-- so many items is read at once.
local function open(of, at, is_out, items)
  key, newest, newest_units, counted = of, -math.huge, 0, 0
  miscounted, moved = false, false
  local read = call('LRANGE', key, 0, items - 1)
  local last = #read
  if last == 0 then return end
  local tail = read
  if last == items then
    tail = call('LRANGE', key, -3, -1)
    last = 3
  end
  newest, newest_units, counted = tonumber(tail[last - 2]), tonumber(tail[last - 1]), tonumber(tail[last])
  if newest > at then
    local all = counted
    clear()
    add(at, all)
  elseif is_out(newest) then
    clear()
  else
    drop_while(is_out, read, items)
  end
end

local function leave(ends)
  if miscounted then call('LSET', key, -1, counted) end
  if moved then call('PEXPIREAT', key, instant(ends)) end
end

-- The newest instant that has to be out until at most so many units count.
local function last_out(most)
  local left, from = counted, 0
  while true do
    local pairs_read = call('LRANGE', key, from, from + chunk - 1)
    for i = 1, #pairs_read - 1, 2 do
      left = left - tonumber(pairs_read[i + 1])
      if left <= most then return tonumber(pairs_read[i]) end
    end
    if #pairs_read < chunk then return newest end
    from = from + chunk
  end
end
