import { completeChat } from './chat.ts'
import { compact, countInputTokens } from './compact.ts'
import {
  addItems,
  createConversation,
  deleteConversation,
  deleteItem,
  listItems,
  retrieveConversation,
  retrieveItem,
  updateConversation,
} from './conversations.ts'
import { create } from './create.ts'
import { embed } from './embeddings.ts'
import type { Exchange } from './exchange.ts'
import { cancel, listInputItems, remove, retrieve } from './lifecycle.ts'
import { listModels, retrieveModel } from './models.ts'
import type { Parts } from './parts.ts'

/** Answers a request; `ids` are those of its path, in order. */
type Act = (exchange: Exchange, parts: Parts, ids: readonly string[]) => Promise<void>

/** All that there is, below `/v1` or the root. `*` stands for an id. */
const routes: readonly (readonly [method: string, path: string, act: Act])[] = [
  ['POST', '/responses', create],
  ['POST', '/responses/compact', compact],
  ['POST', '/responses/input_tokens', countInputTokens],
  ['GET', '/responses/*', retrieve],
  ['DELETE', '/responses/*', remove],
  ['POST', '/responses/*/cancel', cancel],
  ['GET', '/responses/*/input_items', listInputItems],
  ['POST', '/conversations', createConversation],
  ['GET', '/conversations/*', retrieveConversation],
  ['POST', '/conversations/*', updateConversation],
  ['DELETE', '/conversations/*', deleteConversation],
  ['POST', '/conversations/*/items', addItems],
  ['GET', '/conversations/*/items', listItems],
  ['GET', '/conversations/*/items/*', retrieveItem],
  ['DELETE', '/conversations/*/items/*', deleteItem],
  ['POST', '/chat/completions', completeChat],
  ['POST', '/embeddings', embed],
  ['GET', '/models', listModels],
  ['GET', '/models/*', retrieveModel],
]

/** One line for each thing there is. */
export const served: readonly string[] = [
  ...routes.map(([method, path]) => `${method} ${path.replaceAll('*', '{id}')}`),
  'GET /responses as a WebSocket',
]

const patterns = routes.map(([method, path, act]) => ({
  method,
  pattern: new RegExp(`^(?:/v1)?${path.replaceAll('*', '([^/]+)')}$`),
  act,
}))

/** undefined when the API has no such thing. */
export function findRoute(method: string, path: string): { readonly act: Act; readonly ids: readonly string[] } | undefined {
  for (const route of patterns) {
    const match = route.method === method ? route.pattern.exec(path) : null
    if (match !== null) return { act: route.act, ids: match.slice(1).map(decode) }
  }
  return undefined
}

function decode(id: string): string {
  try {
    return decodeURIComponent(id)
  } catch {
    return id // Not an encoding: an id that nobody has, as it stands.
  }
}
