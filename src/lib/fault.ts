/**
 * Every expected failure, in one table. docs/errors.md explains each; a test keeps both equal.
 *
 * `source` says whose doing it is: only an upstream's fault may count against an account.
 * `retry` says what a client should do with the same call: `later` sends Retry-After, `never` sends
 * `x-should-retry: false`, `unsaid` sends neither.
 * `type`, `code` and `message` are what the client reads, in OpenAI's shape; `{name}` is filled from the fault's details.
 */
export const faults = {
  // Who asks
  query_key: client(400, 'invalid_request_error', null, 'API key must not be sent in the query string'),
  key_invalid: client(401, 'authentication_error', 'invalid_api_key', 'Invalid API key'),
  address_denied: client(403, 'permission_error', null, 'Access denied'),

  // What they ask
  path_unknown: client(404, 'invalid_request_error', null, 'Invalid URL ({method} {path})'),
  method_unknown: client(405, 'invalid_request_error', 'method_not_supported', 'Not allowed to {method} on {path}'),
  model_unknown: client(
    404,
    'invalid_request_error',
    'model_not_found',
    "The model '{model}' does not exist or you do not have access to it.",
    'model',
  ),
  query_invalid: client(400, 'invalid_request_error', null, 'The query parameter {name} {is}; {right}'),
  upgrade_unsupported: client(426, 'invalid_request_error', null, 'WebSocket is not available here, use HTTP'),
  upgrade_malformed: client(400, 'invalid_request_error', null, '{what}: a WebSocket is opened as RFC 6455 says, in its version 13'),
  sockets_full: client(429, 'rate_limit_error', null, 'Too many open WebSockets, the limit is {most} per user', null, 'later'),
  socket_old: client(
    400,
    'invalid_request_error',
    'websocket_connection_limit_reached',
    'This WebSocket has been open for {minutes} minutes, the longest there is; open a new one to go on',
  ),
  streams_full: client(
    400,
    'invalid_request_error',
    'websocket_stream_limit_reached',
    'Too many {what} on this WebSocket, the limit is {most}',
  ),
  message_type_invalid: client(
    400,
    'invalid_request_error',
    'invalid_value',
    'The type of a message must be response.create or response.steer',
    'type',
  ),
  stream_id_invalid: client(
    400,
    'invalid_request_error',
    'invalid_value',
    'stream_id must be 1 to 256 letters, digits, dots, underscores and hyphens',
    'stream_id',
  ),
  socket_background: client(
    400,
    'invalid_request_error',
    'unsupported_parameter',
    'background is not supported over a WebSocket',
    'background',
  ),
  encoding_unsupported: client(415, 'invalid_request_error', null, 'Unsupported content encoding'),
  body_too_large: client(413, 'invalid_request_error', null, 'Request body too large, limit is {limit}'),
  body_unreadable: client(400, 'invalid_request_error', null, 'Failed to read request body'),
  body_empty: client(400, 'invalid_request_error', null, 'Request body is empty'),
  body_unparsable: client(400, 'invalid_request_error', null, 'Failed to parse request body'),
  model_missing: client(400, 'invalid_request_error', null, 'model is required'),
  bodies_full: gateway(503, 'api_error', null, 'Too many request bodies are being read, please retry later', 'later'),
  model_unserved: client(503, 'api_error', null, 'No available accounts: {why}'),
  model_unpriced: client(400, 'invalid_request_error', 'model_not_found', 'Model {model} has no price'),
  unforeseen: gateway(500, 'api_error', null, 'Failed to process request', 'unsaid'),
  output_without_call_id: client(
    400,
    'invalid_request_error',
    null,
    'function_call_output requires call_id or previous_response_id; if relying on history, ensure store=true and reuse previous_response_id',
  ),
  output_without_reference: client(
    400,
    'invalid_request_error',
    null,
    'function_call_output requires item_reference ids matching each call_id, or previous_response_id/tool_call context; if relying on history, ensure store=true and reuse previous_response_id',
  ),
  response_not_found: client(
    400,
    'invalid_request_error',
    'previous_response_not_found',
    "Previous response with id '{id}' not found.",
    'previous_response_id',
  ),
  conversation_not_found: client(404, 'invalid_request_error', null, "Conversation with id '{id}' not found.", 'conversation'),
  item_not_found: client(
    400,
    'invalid_request_error',
    null,
    "Item with id '{id}' not found. Items are not persisted when `store` is set to false. Try again with `store` set to true, or remove this item from your input.",
    'input',
  ),
  response_unknown: client(404, 'invalid_request_error', null, "Response with id '{id}' not found."),
  response_running: gateway(
    409,
    'api_error',
    null,
    'The response still runs and could not be cancelled, so what it uses is not known yet: please delete it later',
    'later',
  ),
  conversation_unknown: client(404, 'invalid_request_error', null, "Conversation with id '{id}' not found."),
  id_invalid: client(
    400,
    'invalid_request_error',
    null,
    "The id '{id}' in the path is no id: it takes 1 to 256 letters, digits and signs of _ - . : ~ = +, a letter or digit first",
  ),
  container_not_found: client(404, 'invalid_request_error', null, "Container with id '{id}' not found.", 'tools'),
  file_not_found: client(404, 'invalid_request_error', null, "File with id '{id}' not found.", 'input'),
  too_many_ids: client(400, 'invalid_request_error', null, 'The request refers to {count} ids, the limit is {most}', 'input'),
  context_split: client(
    400,
    'invalid_request_error',
    null,
    'The ids in this request belong to different upstream accounts and cannot be used together',
    'input',
  ),

  // Standing in line
  line_full: client(429, 'rate_limit_error', null, 'Too many pending requests, please retry later', null, 'later'),
  line_timeout_user: client(429, 'rate_limit_error', null, 'Concurrency limit exceeded for user, please retry later', null, 'later'),
  line_timeout_account: gateway(429, 'rate_limit_error', null, 'Concurrency limit exceeded for account, please retry later', 'later'),
  rate_exceeded: client(
    429,
    'rate_limit_error',
    'rate_limit_exceeded',
    'Rate limit reached for {whose}: {limit} {what} per minute, please retry later',
    null,
    'later',
  ),
  looping: client(
    429,
    'rate_limit_error',
    'rate_limit_exceeded',
    'Too many refused requests with this key, the last of them because: {why}; please retry later',
    null,
    'later',
  ),
  stopping: gateway(503, 'api_error', null, 'Gateway is restarting, please retry later', 'later'),
  client_left: client(499, 'invalid_request_error', null, 'The client closed the connection', null, 'unsaid'),

  // Money before the call
  money_short: client(429, 'insufficient_quota', 'insufficient_quota', 'Insufficient balance'),
  window_used: client(429, 'insufficient_quota', 'usage_limit_exceeded', '{window} usage limit exceeded, resets at {resetsAt}'),
  books_away: gateway(503, 'api_error', 'billing_unavailable', 'Billing service temporarily unavailable. Please retry later.', 'later'),

  // Which account, and what became of it
  accounts_unavailable: gateway(503, 'api_error', null, 'No available accounts: {why}', 'unsaid'),
  upstream_auth: upstream(502, 'upstream_error', 'Upstream authentication failed, please contact administrator'),
  upstream_forbidden: upstream(502, 'upstream_error', 'Upstream access forbidden, please contact administrator'),
  upstream_limited: upstream(429, 'rate_limit_error', 'Upstream rate limit exceeded, please retry later'),
  upstream_overloaded: upstream(503, 'upstream_error', 'Upstream service overloaded, please retry later'),
  upstream_unavailable: upstream(502, 'upstream_error', 'Upstream service temporarily unavailable'),
  upstream_failed: upstream(502, 'upstream_error', 'Upstream request failed'),
  /** Told inside a stream that had begun: the upstream broke, stalled or ended without a terminal event. */
  upstream_cut: upstream(502, 'upstream_error', 'The upstream ended the answer before it was complete'),
} as const satisfies Record<string, FaultEntry>

export interface FaultEntry {
  readonly status: number
  readonly type: string
  /** OpenAI's `error.code`. */
  readonly code: string | null
  readonly param: string | null
  readonly message: string
  readonly source: 'client' | 'gateway' | 'upstream'
  readonly retry: 'later' | 'never' | 'unsaid'
}

export type FaultName = keyof typeof faults

/** What fills a message, and what else the client or the log is told. */
export interface FaultDetails {
  readonly values?: Readonly<Record<string, string | number>>
  /** Whole seconds, 1 to 60; overrides the table's silence as well as its default. */
  readonly retryAfterSeconds?: number | undefined
  readonly cause?: unknown
}

const retryAfterDefaultSeconds = 5
export const retryAfterMaxSeconds = 60

/** An expected failure. Made where the fact is known; told to the client once, in the form that its wire still allows. */
export class Fault extends Error {
  override readonly name = 'Fault'
  readonly fault: FaultName
  readonly retryAfterSeconds: number | undefined

  constructor(fault: FaultName, details: FaultDetails = {}) {
    // Where it was made says less than its name does, and would cost a refusal more than all else that is done to make it. A cause keeps its own.
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 0
    super(fill(faults[fault].message, details.values ?? {}), { cause: details.cause })
    Error.stackTraceLimit = stackTraceLimit
    this.fault = fault
    const seconds = details.retryAfterSeconds ?? (faults[fault].retry === 'later' ? retryAfterDefaultSeconds : undefined)
    this.retryAfterSeconds = seconds === undefined ? undefined : Math.min(retryAfterMaxSeconds, Math.max(1, Math.ceil(seconds)))
  }

  get entry(): FaultEntry {
    return faults[this.fault]
  }

  /** The body of the refusal, in OpenAI's shape. */
  get body(): { error: { type: string; message: string; code: string | null; param: string | null } } {
    const { type, code, param } = this.entry
    return { error: { type, message: this.message, code, param } }
  }

  static from(error: unknown): Fault {
    return error instanceof Fault ? error : new Fault('unforeseen', { cause: error })
  }
}

function fill(message: string, values: Readonly<Record<string, string | number>>): string {
  return message.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole))
}

function client(
  ...[status, type, code, message, param = null, retry = 'never']: [
    number,
    string,
    string | null,
    string,
    (string | null)?,
    FaultEntry['retry']?,
  ]
): FaultEntry {
  return { status, type, code, param, message, source: 'client', retry }
}

function gateway(...[status, type, code, message, retry]: [number, string, string | null, string, FaultEntry['retry']]): FaultEntry {
  return { status, type, code, param: null, message, source: 'gateway', retry }
}

function upstream(status: number, type: string, message: string): FaultEntry {
  return { status, type, code: null, param: null, message, source: 'upstream', retry: 'unsaid' }
}
