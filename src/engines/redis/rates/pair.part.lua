-- A state of two numbers (f64 each): the instant of the last change, and an amount at it.
local function load()
  local packed = call('GET', KEYS[1])
  if not packed then return nil end
  return struct.unpack('<dd', packed)
end

local function save(amount, ends)
  call('SET', KEYS[1], struct.pack('<dd', now, amount), 'PXAT', instant(ends))
end

-- So much may be missing, lest rounding refuse what has just become free. It is taken all the same, so it never adds up.
local tolerance = 1e-9

local function whole(units)
  return math.max(0, math.min(math.floor(units + tolerance), forever))
end
