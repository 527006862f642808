-- wrk's side of closed_loop.py: wrk -s closed_loop.lua URL -- FOLDER COUNT BODY FIELD
-- Posts the frames of a folder in turn and prints what came back as one line of JSON.

local BOUNDARY = "frame-boundary-7f3a9c"
local threads = {}
local requests = {}
local at = 0

function setup(thread)
  table.insert(threads, thread)
end

local function read(path)
  local file = assert(io.open(path, "rb"))
  local data = file:read("*a")
  file:close()
  return data
end

local function form(frame, field)
  return "--" .. BOUNDARY .. '\r\nContent-Disposition: form-data; name="' .. field .. '"; filename="frame.jpg"\r\n'
    .. "Content-Type: image/jpeg\r\n\r\n" .. frame .. "\r\n--" .. BOUNDARY .. "--\r\n"
end

function init(args)
  local folder, count, body, field = args[1], tonumber(args[2]), args[3], args[4]
  ok, refused, failed = 0, 0, 0
  for index = 0, count - 1 do
    local frame = read(string.format("%s/%02d.jpg", folder, index))
    if body == "raw" then
      requests[index + 1] = wrk.format("POST", nil, {["Content-Type"] = "image/jpeg"}, frame)
    else
      local headers = {["Content-Type"] = "multipart/form-data; boundary=" .. BOUNDARY}
      requests[index + 1] = wrk.format("POST", nil, headers, form(frame, field))
    end
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function response(status)
  if status == 200 then
    ok = ok + 1
  elseif status == 429 then
    refused = refused + 1
  else
    failed = failed + 1
  end
end

function done(summary, latency)
  local sums = {ok = 0, refused = 0, failed = 0}
  for _, thread in ipairs(threads) do
    for name, sum in pairs(sums) do
      sums[name] = sum + thread:get(name)
    end
  end
  local errors = summary.errors
  io.write(string.format(
    '\n{"seconds": %.6f, "ok": %d, "refused": %d, "failed": %d, "p50_ms": %.3f, "p90_ms": %.3f, "p99_ms": %.3f}\n',
    summary.duration / 1e6, sums.ok, sums.refused,
    sums.failed + errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(90) / 1e3, latency:percentile(99) / 1e3))
end
