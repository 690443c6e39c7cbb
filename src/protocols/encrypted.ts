import { isFields } from './json.ts'
import type { CallFacts, Stripped } from './protocol.ts'
import { namesToFind, scanItems, scanObject } from './scan.ts'
import type { Cut } from './splice.ts'

/**
 * Input items that only the organisation can read that made them (PROTOCOL.md 4): thoughts, and what was compacted. The client
 * carries them along; to us, as to the client, they say nothing.
 */
const sealedTypes: ReadonlySet<unknown> = new Set(['reasoning', 'compaction', 'compaction_summary'])

export function hasEncrypted(input: unknown): boolean {
  return Array.isArray(input) && input.some(isEncrypted)
}

function isEncrypted(item: unknown): boolean {
  return isFields(item) && sealedTypes.has(item.type) && typeof item.encrypted_content === 'string' && item.encrypted_content !== ''
}

/**
 * What must be cut out of a body whose encrypted content an upstream cannot read. Items go whole, because what is left of one would be an id
 * that this upstream does not know either: all reasoning, also where only its id or its summary was sent, and of the compacted items
 * those that are encrypted. What was said and what tools were called stays, in pairs as it was. Undefined when there is nothing to cut, or
 * when nothing would be left.
 */
export function withoutEncrypted(body: Buffer, { fields }: CallFacts): Stripped | undefined {
  const items = fields.input === undefined ? undefined : scanItems(body, fields.input.valueStart)
  if (items === undefined) return undefined
  const types = items.map(({ valueStart }) => sealedTypeOf(body, valueStart))
  const reasoning = types.filter(type => type === 'reasoning').length
  const compactions = types.filter(type => type !== undefined).length - reasoning
  if (reasoning + compactions === 0 || reasoning + compactions === items.length) return undefined
  const parts = [counted(reasoning, 'reasoning item'), counted(compactions, 'compacted history', 'compacted histories')]
  return { cuts: cutsOf(items, types), what: parts.filter(part => part !== undefined).join(', ') }
}

const itemNames = namesToFind(['type', 'encrypted_content'])

/** Of an item that is to go: its type. */
function sealedTypeOf(body: Buffer, from: number): string | undefined {
  const members = scanObject(body, itemNames, { from })?.members ?? []
  const [said, content] = ['type', 'encrypted_content'].map(name => members.findLast(member => member.name === name))
  if (said === undefined || said.valueEnd - said.valueStart > typeBytesMax) return undefined
  const type: unknown = JSON.parse(body.toString('utf8', said.valueStart, said.valueEnd))
  if (typeof type !== 'string' || !sealedTypes.has(type)) return undefined
  const holdsAny = content !== undefined && body[content.valueStart] === quote && content.valueEnd - content.valueStart > '""'.length
  return type === 'reasoning' || holdsAny ? type : undefined
}

const quote = 0x22
/** No type that we look for is longer, were every letter of it escaped. */
const typeBytesMax = 200

/** Each item goes with the comma before it; those that stand first, with the comma after them. */
function cutsOf(items: NonNullable<ReturnType<typeof scanItems>>, types: readonly (string | undefined)[]): Cut[] {
  const cuts: Cut[] = []
  const firstKept = types.indexOf(undefined)
  if (firstKept > 0) cuts.push({ start: items[0]!.valueStart, end: items[firstKept]!.valueStart, text: '' })
  for (let i = firstKept + 1; i < items.length; i++) {
    if (types[i] !== undefined) cuts.push({ start: items[i - 1]!.valueEnd, end: items[i]!.valueEnd, text: '' })
  }
  return cuts
}

function counted(count: number, one: string, many = `${one}s`): string | undefined {
  return count === 0 ? undefined : `${count} ${count === 1 ? one : many}`
}
