import { posted } from '../protocols/list.ts'
import { responses } from '../protocols/openai-responses.ts'
import type { Protocol } from '../protocols/protocol.ts'
import type { Client } from './client.ts'
import { createConversation } from './conversations.ts'
import type { Gateway } from './gateway.ts'
import { handle } from './handle.ts'
import { tellKept } from './kept.ts'
import { modelsPath, tellModel, tellModels } from './models.ts'
import { tellCredits, tellUsage } from './own-account.ts'
import { ownPage, type TellOwn } from './own-page.ts'

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
const bases = ['/openai/v1', '/v1', '']

/** Below the base. */
const belowBase: readonly (readonly [string, Route])[] = [
  ...Object.values(posted).map(protocol => [protocol.path, { protocol, answers: { POST: handle } }] as const),
  ['/conversations', { protocol: responses, answers: { POST: createConversation } }],
  ['/credits', page(tellCredits)],
  ['/usage', page(tellUsage)],
  [modelsPath, page(tellModels)],
]

const routes: ReadonlyMap<string, Route> = new Map(bases.flatMap(base => belowBase.map(([path, route]) => [base + path, route] as const)))

/** Paths that end in a name or an id. */
const families: readonly (readonly [RegExp, Route])[] = [
  [new RegExp(`^${modelsPath}/.`), page(tellModel)],
  [/^\/responses\/[^/]+$/, kept('GET', 'DELETE')],
  [/^\/responses\/[^/]+\/cancel$/, kept('POST')],
  [/^\/responses\/[^/]+\/input_items$/, kept('GET')],
  [/^\/conversations\/[^/]+$/, kept('GET', 'POST', 'DELETE')],
  [/^\/conversations\/[^/]+\/items$/, kept('GET', 'POST')],
  [/^\/conversations\/[^/]+\/items\/[^/]+$/, kept('GET', 'DELETE')],
]

/** Undefined for a path that is none of ours. */
export function routeOf(path: string): Route | undefined {
  return routes.get(path) ?? familyOf(path)
}

function familyOf(path: string): Route | undefined {
  const base = bases.find(one => path.startsWith(one) && path[one.length] === '/')
  if (base === undefined) return undefined
  const rest = path.slice(base.length)
  return families.find(([pattern]) => pattern.test(rest))?.[1]
}

function kept(...methods: ('GET' | 'POST' | 'DELETE')[]): Route {
  return { protocol: responses, answers: Object.fromEntries(methods.map(method => [method, tellKept])) }
}

function page(tell: TellOwn): Route {
  return { protocol: responses, answers: { GET: ownPage(tell), HEAD: ownPage(tell) } }
}
