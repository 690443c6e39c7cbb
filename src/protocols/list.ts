import { chat } from './openai-chat.ts'
import { compact, inputTokens } from './openai-compact.ts'
import { conversation } from './openai-conversation.ts'
import { embeddings } from './openai-embeddings.ts'
import { responses } from './openai-responses.ts'
import { overSocket } from './openai-websocket.ts'
import type { Protocol } from './protocol.ts'

/** Those that a client speaks by `POST`, each on a path of its own. */
export const posted: Readonly<Record<string, Protocol>> = { responses, chat, embeddings, compact, inputTokens }

/** Every protocol, by the name under which a worker is told which one to read by. */
export const protocols: Readonly<Record<string, Protocol>> = { ...posted, websocket: overSocket, conversation }
