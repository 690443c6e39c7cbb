import { responses } from './openai-responses.ts'
import type { Protocol } from './protocol.ts'

/**
 * What is told of something that an upstream keeps. A failure in it is the response's own, told again, and says nothing of the account
 * that tells it.
 */
export const kept: Protocol = { ...responses, name: 'kept', errorIn: () => undefined }
