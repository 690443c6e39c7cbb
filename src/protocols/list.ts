import { chat } from './openai-chat.ts'
import { compact, inputTokens } from './openai-compact.ts'
import { embeddings } from './openai-embeddings.ts'
import { responses } from './openai-responses.ts'
import type { Protocol } from './protocol.ts'

/** Every protocol, by the name under which a worker is told which one to read by. */
export const protocols: Readonly<Record<string, Protocol>> = { responses, chat, embeddings, compact, inputTokens }
