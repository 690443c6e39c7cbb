import { hash } from 'node:crypto'
import type { Admission } from './admit.ts'
import type { Client } from './client.ts'

/** Where a client may name its session, the first that does counts; else the body's `prompt_cache_key` does. */
const headers = ['session_id', 'session-id', 'x-session-affinity'] as const

/** What the client calls its session, hashed with the user so that nobody lands in another's. */
export function sessionKeyOf(client: Client, { principal, call }: Admission): string | undefined {
  const said = namedIn(client) ?? call.facts.promptCacheKey
  if (said === undefined || said.trim() === '') return undefined
  return hash('sha256', `${principal.user.id}\n${said}`, 'base64url')
}

function namedIn(client: Client): string | undefined {
  for (const header of headers) {
    const said = client.header(header)
    if (said !== undefined && said.trim() !== '') return said
  }
  return undefined
}
