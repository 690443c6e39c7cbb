import { Fault } from '../lib/fault.ts'

/** What is kept upstream under an id, and what is asked of it. */
export interface KeptPath {
  readonly kind: 'response' | 'conversation'
  readonly id: string
  /** Below an account's base URL, its ids escaped. */
  readonly path: string
}

const kinds = { responses: 'response', conversations: 'conversation' } as const

const shape = /\/(responses|conversations)\/([^/]+)(?:\/(cancel|input_items|items)(?:\/([^/]+))?)?$/

/** Every upstream's ids are like that. It begins with a letter or digit, so that no id is a way to elsewhere. */
const idShape = /^[A-Za-z0-9][\w.:~=+-]{0,255}$/

/** Reads a path that `routes.ts` takes for one of these. Throws `id_invalid`. */
export function readKeptPath(path: string): KeptPath {
  const [, collection, id = '', part, itemId] = shape.exec(path) ?? []
  const ids = [id, ...(itemId === undefined ? [] : [itemId])].map(readId)
  const escaped = ids.map(encodeURIComponent)
  return {
    kind: kinds[collection as keyof typeof kinds],
    id: ids[0]!,
    path: `/${[collection, escaped[0], part, escaped[1]].filter(one => one !== undefined).join('/')}`,
  }
}

function readId(written: string): string {
  const id = decoded(written)
  if (id !== undefined && idShape.test(id)) return id
  throw new Fault('id_invalid', { values: { id: written.slice(0, 40) } })
}

function decoded(written: string): string | undefined {
  try {
    return decodeURIComponent(written)
  } catch {
    return undefined // No id is written so.
  }
}
