import { protocols } from '../protocols/list.ts'
import { responses } from '../protocols/openai-responses.ts'
import type { Protocol } from '../protocols/protocol.ts'
import type { Client } from './client.ts'
import type { Gateway } from './gateway.ts'
import { handle } from './handle.ts'
import { ownAccountPaths, tellOwnAccount } from './own-account.ts'

/** Answers one request. Never rejects; resolves when the client has its last byte, or is gone. */
export type Answer = (client: Client, path: string, gateway: Gateway) => Promise<void>

/** What a path of the data plane is for. */
export interface Route {
  /** In whose words the client is spoken to. */
  readonly protocol: Protocol
  /** By method. */
  readonly answers: Readonly<Record<string, Answer>>
}

/** An OpenAI client may be given the address with or without `/v1`, or as Azure has it. */
const bases = ['/v1', '', '/openai/v1']

const routes: ReadonlyMap<string, Route> = new Map<string, Route>([
  ...Object.values(protocols).flatMap(protocol =>
    bases.map(base => [base + protocol.path, { protocol, answers: { POST: handle } }] as const),
  ),
  ...ownAccountPaths.map(path => [path, { protocol: responses, answers: { GET: tellOwnAccount, HEAD: tellOwnAccount } }] as const),
])

/** Undefined for a path that is none of ours. */
export function routeOf(path: string): Route | undefined {
  return routes.get(path)
}
