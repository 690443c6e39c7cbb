import type { IncomingHttpHeaders } from 'node:http'
import type { Account } from '../directory/entities.ts'
import type { Headers } from '../upstreams/verdict.ts'

/** The client's headers that reach the upstream. What is not named here does not pass. */
const passing = new Set([
  'accept-language',
  'user-agent',
  'openai-beta',
  'originator',
  'session_id',
  'session-id',
  'thread_id',
  'thread-id',
  'conversation_id',
  'x-session-affinity',
  'x-session-id',
  'x-client-request-id',
  'traceparent',
])

export function requestHeaders(headers: IncomingHttpHeaders, account: Account): Record<string, string> {
  const sent: Record<string, string> = {
    'content-type': 'application/json',
    accept: '*/*',
    'accept-encoding': 'identity',
  }
  for (const name in headers) {
    if (!passing.has(name) && !name.startsWith('x-codex-')) continue
    const value = headers[name]
    if (typeof value === 'string') sent[name] = value
  }
  const type = headers['content-type']
  if (type !== undefined) sent['content-type'] = type
  if (account.capabilities.auth === 'api-key') sent['api-key'] = account.apiKey
  else sent['authorization'] = `Bearer ${account.apiKey}`
  return sent
}

/** The upstream's headers that reach the client. Its limits, organisation and cookies are the account's business. */
export function answerHeaders(headers: Headers): Record<string, string> {
  const told: Record<string, string> = {}
  for (const name of ['content-type', 'openai-processing-ms', 'openai-version']) {
    const value = headers[name]
    if (typeof value === 'string') told[name] = value
  }
  const id = headers['x-request-id']
  if (typeof id === 'string') told['x-upstream-request-id'] = id
  return told
}
