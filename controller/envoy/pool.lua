-- Puts a request into the form that its pool expects, by the metadata of the pool's route: the pool's own name
-- for the model, the path before and behind what the caller's path has after /v1, and the time that it has. On the
-- way back it looks at the end of the answer for the tokens that it counts, for the mark that ends a stream, and
-- for what an error says. A whole answer in JSON is held until it is complete: one that breaks, or is no answer,
-- can still be had from another pool.
local TAIL = 4096
local ELSEWHERE = {} -- the names of errors under which another pool may answer differently

local function note(handle, name, value)
  handle:streamInfo():dynamicMetadata():set("tieline", name, value)
end

-- How long this attempt may take until its answer begins. A whole answer has more time the longer it may be.
-- Of a deadline that the caller sets an attempt takes half at most, so that another pool has time as well.
local function limit_ms(headers, metadata)
  local limit = metadata:get("limit_ms")
  if limit == nil then
    return nil
  end
  local tokens = tonumber(headers:get("x-tieline-output-max") or "") or metadata:get("tokens")
  limit = limit + metadata:get("token_ms") * tokens
  local deadline = tonumber(headers:get("x-tieline-deadline") or "")
  if deadline ~= nil and deadline > 0 then
    limit = math.min(limit, deadline * 500)
  end
  return math.max(1, math.floor(limit))
end

function envoy_on_request(handle)
  local headers, metadata = handle:headers(), handle:metadata()
  for _, name in ipairs({ "workload", "origin", "model", "stream" }) do
    note(handle, name, headers:get("x-tieline-" .. name) or "")
  end
  local path, query = string.match(headers:get(":path"), "^/v1([^?]*)%??(.*)$")
  if path ~= nil then
    local more = metadata:get("query") or ""
    if more ~= "" and not string.find(query, "api-version=", 1, true) then
      query = (query == "" and "" or query .. "&") .. more
    end
    headers:replace(":path", metadata:get("path") .. path .. (query == "" and "" or "?" .. query))
  end
  local limit = limit_ms(headers, metadata)
  if limit ~= nil then
    -- Of a stream the limit is for its beginning, of a whole answer for its end.
    local timer = headers:get("x-tieline-stream") ~= nil and "per-try-timeout" or "timeout"
    headers:replace("x-envoy-upstream-rq-" .. timer .. "-ms", string.format("%d", limit))
  end
  local name, first, last = metadata:get("name"), string.match(headers:get("x-tieline-model-at") or "", "^(%d+)-(%d+)$")
  if name ~= nil and first ~= nil and name ~= headers:get("x-tieline-model") then
    local body = handle:body()
    local text = tostring(body:getBytes(0, body:length()))
    headers = handle:headers() -- those from before the wait for the body are gone
    local size = body:setBytes(string.sub(text, 1, tonumber(first) - 1) .. name .. string.sub(text, tonumber(last) + 1))
    headers:replace("content-length", tostring(size))
  end
  local own = {}
  for key, _ in pairs(headers) do
    if string.find(key, "^x%-tieline%-") then
      own[#own + 1] = key
    end
  end
  for _, key in ipairs(own) do
    headers:remove(key)
  end
end

-- Whether a body is what an API answers with: a JSON value that is complete as far as its ends show, and no error.
local function is_answer(head, tail)
  return string.find(head, "^%s*[{%[]") and string.find(tail, "[}%]]%s*$") and not string.find(head, '^%s*{%s*"error"%s*:%s*{')
end

-- Reads a whole answer. Under a good status what is no answer becomes an error of the pool's.
local function read_whole(handle, status, names_model)
  local body = handle:body()
  local size = body and body:length() or 0
  local head = size > 0 and tostring(body:getBytes(0, math.min(size, TAIL))) or ""
  local tail = size > 0 and tostring(body:getBytes(math.max(0, size - TAIL), math.min(size, TAIL))) or ""
  local headers = handle:headers() -- those from before the wait for the body are gone
  if status < 300 and names_model and not is_answer(head, tail) then
    headers:replace(":status", "502")
  elseif status >= 400 then
    for name in string.gmatch(head, '"([%w_]+)"') do
      if ELSEWHERE[string.lower(name)] then
        headers:replace("x-tieline-elsewhere", "1")
      end
    end
  end
  return tail
end

-- Reads a stream as it passes: its end, and how many events it had.
local function read_stream(handle, is_events)
  local tail, events = "", 0
  for chunk in handle:bodyChunks() do
    local length = chunk:length()
    local size = is_events and length or math.min(length, TAIL)
    if size > 0 then
      local text = tostring(chunk:getBytes(length - size, size))
      tail = string.sub(tail .. text, -TAIL)
      local at = is_events and string.find(text, "data:", 1, true)
      while at do
        events, at = events + 1, string.find(text, "data:", at + 5, true)
      end
    end
  end
  return tail, events
end

function envoy_on_response(handle)
  local headers = handle:headers()
  local status, kind = tonumber(headers:get(":status") or "0"), headers:get("content-type") or ""
  local asked = handle:streamInfo():dynamicMetadata():get("tieline") or {}
  local names_model = (asked["model"] or "") ~= ""
  local tail, events = "", 0
  if string.find(kind, "application/json", 1, true) then
    tail = read_whole(handle, status, names_model)
  else
    if status < 300 and names_model and string.find(kind, "text/html", 1, true) then
      headers:replace(":status", "502")
    end
    tail, events = read_stream(handle, string.find(kind, "text/event-stream", 1, true) ~= nil)
  end
  local prompt, answer = nil, nil
  for name, number in string.gmatch(tail, '"([a-z]+_tokens)"%s*:%s*(%d+)') do
    if name == "prompt_tokens" or name == "input_tokens" then
      prompt = number
    elseif name == "completion_tokens" or name == "output_tokens" then
      answer = number
    end
  end
  local is_done = string.find(tail, "[DONE]", 1, true)
    or string.find(tail, '"finish_reason"%s*:%s*"')
    or string.find(tail, '%.completed"')
    or string.find(tail, '%.incomplete"')
    or string.find(tail, '%.done"')
  note(handle, "usage", prompt and (prompt .. "+" .. (answer or "0")) or "")
  note(handle, "events", tostring(events))
  note(handle, "done", is_done and "1" or "")
  note(handle, "error", status >= 400 and handle:base64Escape(tail) or "")
end
