import { plainFacts, readObject } from './call-body.ts'
import { sizeOf } from './input-size.ts'
import { kept } from './openai-kept.ts'
import { referencesIn } from './openai-responses.ts'
import type { CallReading, Protocol } from './protocol.ts'
import { isBlank, namesToFind } from './scan.ts'

/** What a conversation is begun with or added to it: items like those of a response's input, and as they, by their ids if need be. */
export const conversation: Protocol = { ...kept, name: 'conversation', readCall: readItems }

const wantedNames = namesToFind(['items'])

/** There may be no body, and there is no model. */
function readItems(body: Buffer): CallReading {
  const read = isBlank(body) ? { parsed: {}, place: { fields: {}, insertAt: 0, isEmptyObject: true } } : readObject(body, wantedNames)
  if ('fault' in read) return read
  const { items } = read.parsed
  const { tokens, fileIds } = sizeOf(read.parsed, body.length, 'items')
  const itemReferences = Array.isArray(items) ? referencesIn(items) : []
  return { facts: { ...plainFacts, ...read.place, model: '', inputTokensEstimate: tokens, itemReferences, fileIds } }
}
