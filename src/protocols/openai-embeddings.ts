import { noUsage } from '../ledger/price.ts'
import { plainFacts, readCallBody } from './call-body.ts'
import { sizeOf } from './input-size.ts'
import { isFields } from './json.ts'
import { errorOf, parsedAnswer, renameModelInBody, textOr } from './openai-events.ts'
import { areCounts, countOf } from './openai-usage.ts'
import type { CallReading, Protocol } from './protocol.ts'
import { namesToFind } from './scan.ts'
import { spliceBody } from './splice.ts'

/** `POST /v1/embeddings`: no output, no stream, and money for its input alone. */
export const embeddings: Protocol = {
  name: 'embeddings',
  path: '/embeddings',
  readCall,
  rewrite: (body, facts, { model }) => spliceBody(body, facts, { model }),
  readBody(body) {
    const { model, usage, error } = parsedAnswer(body)
    return {
      status: 'completed',
      responseId: null,
      model: textOr(model),
      serviceTier: null,
      usage: isFields(usage) && areCounts([usage.prompt_tokens]) ? { ...noUsage, inputTokens: countOf(usage.prompt_tokens) } : null,
      itemIds: [],
      containerIds: [],
      conversationId: null,
      error: isFields(error) ? errorOf(error) : null,
    }
  },
  renameInBody: renameModelInBody,
  textsOfBody: () => [],
  errorIn: () => undefined,
  openAnswer: noStream,
  refusalEvents: noStream,
  wholeEvents: noStream,
}

const wantedNames = namesToFind(['model', 'input'])

function readCall(body: Buffer): CallReading {
  const found = readCallBody(body, wantedNames)
  if ('fault' in found) return found
  const { model, parsed, place } = found
  const { tokens } = sizeOf(parsed, body.length)
  return { facts: { ...plainFacts, ...place, model, maxOutputTokens: 0, inputTokensEstimate: tokens } }
}

/** Nobody asks: a call is a stream only when its facts say so. */
function noStream(): never {
  throw new Error('embeddings do not come as a stream')
}
