import { createHash } from 'node:crypto'
import { createRoute, z } from '@hono/zod-openapi'
import { type LineChange, lineOf, type PriceDraft, placeAll } from '../directory/price-line.ts'
import { type BookRead, changeBook, readBook, sameLine } from '../directory/prices.ts'
import { priceOfSetup, setupOfPrice, timeText, timeTextOrNull } from './entities.ts'
import { label, model, object, rate, time } from './fields.ts'
import { differences, type Fields } from './plan.ts'
import type { AdminParts } from './ports.ts'
import { nameProblems } from './price-lines.ts'
import { invalid, Refusal } from './refusal.ts'
import { body, ok, routes } from './routes.ts'
import { save } from './writing.ts'

/**
 * Prices from elsewhere, such as a file: what they would change in the book, and the change itself once a person has seen it. What a
 * proposal does not say, the book keeps; an alias it never takes.
 */
export function priceProposalRoutes(parts: AdminParts) {
  return routes()
    .openapi(propose, async context => {
      const { prices } = context.req.valid('json')
      const nowMs = parts.clock.nowMs()
      return context.json(viewOf(proposalOf(prices, await readBook(parts.database, nowMs), nowMs)), 200)
    })
    .openapi(accept, async context => context.json({ lines: await acceptOne(context.req.valid('json'), parts) }, 200))
}

const proposedSchema = object('a proposed price', {
  model,
  tier: label.default('default'),
  contextOver: z.int().min(0).default(0),
  input: rate,
  cached: rate,
  cacheWrite: rate,
  cacheWrite12h: rate,
  output: rate,
  webSearch: rate.optional(),
  fileSearch: rate.optional(),
  maxOutput: z.int().min(1).optional(),
  source: z.string().max(500),
  from: time.optional().describe('From now on when left out, or when it is over.'),
  until: time.optional(),
})
const pricesMost = 10_000
const prices = z.array(proposedSchema).max(pricesMost)

const proposeSchema = object('a proposal', { prices })
const acceptSchema = object('an acceptance', {
  prices,
  fingerprint: z.string().max(100).describe('Of the proposal that was seen. Refused if the book has changed since.'),
  models: z.array(model).max(pricesMost).optional().describe('Only these; all when left out.'),
})

const changeSchema = z
  .object({
    model: z.string(),
    tier: z.string(),
    contextOver: z.number(),
    from: z.string().nullable().describe('Null: now.'),
    until: z.string().nullable(),
    action: z.enum(['new', 'changed', 'refused']),
    fields: z.record(z.string(), z.object({ from: z.any(), to: z.any() })).describe('What each changed field is, and would be.'),
    input: z.string(),
    cached: z.string(),
    output: z.string(),
    why: z.string().nullable().describe('Why it cannot be accepted.'),
  })
  .openapi('PriceChange')
const viewSchema = z.object({ fingerprint: z.string(), unchanged: z.number(), changes: z.array(changeSchema) })

const tags = ['prices']
const propose = createRoute({
  method: 'post',
  path: '/prices/proposal',
  tags,
  description: 'Says what these prices would change. Changes nothing.',
  request: { body: body(proposeSchema) },
  responses: ok('The difference from the book.', viewSchema),
})
const accept = createRoute({
  method: 'post',
  path: '/prices/proposal/accept',
  tags,
  description: 'Makes the changes of a proposal that was seen, all or none of them.',
  request: { body: body(acceptSchema) },
  responses: ok('How many lines were changed.', z.object({ lines: z.number() })),
})

type Proposed = z.output<typeof proposedSchema>

/** One proposed price beside what the book says of that moment. */
interface Difference {
  readonly draft: PriceDraft
  readonly when: { readonly fromMs: number; readonly untilMs?: number }
  readonly said: Proposed
  readonly action: 'new' | 'changed' | 'unchanged' | 'refused'
  readonly fields: Fields
  readonly why: string | null
}

interface Proposal {
  readonly fingerprint: string
  readonly differences: readonly Difference[]
}

function proposalOf(said: readonly Proposed[], book: BookRead, nowMs: number): Proposal {
  const coming = said.filter(({ until }) => until === undefined || until > nowMs)
  const compared = coming.map(one => differenceOf(one, book, nowMs))
  const problems = nameProblems(
    compared.map(({ draft }) => draft),
    book.standing,
    index => [index],
  )
  const refused = new Map(problems.map(({ path, message }) => [path[0], message]))
  const all = compared.map((one, index): Difference => {
    const why = refused.get(index)
    return why === undefined || one.action === 'unchanged' ? one : { ...one, action: 'refused', why }
  })
  const seen = JSON.stringify([String(book.revision), all.map(({ said, action, fields }) => ({ said, action, fields }))])
  return { fingerprint: createHash('sha256').update(seen).digest('hex').slice(0, 16), differences: all }
}

function differenceOf(said: Proposed, { standing }: BookRead, nowMs: number): Difference {
  const { from, until, ...rates } = said
  const fromMs = Math.max(from ?? nowMs, nowMs)
  const running = sameLine(standing, said).find(one => one.effectiveFromMs <= fromMs && (one.effectiveToMs ?? Infinity) > fromMs)
  const kept = running === undefined ? { webSearch: null, fileSearch: null, maxOutput: null, aliases: [] } : setupOfPrice(running)
  const draft = priceOfSetup({
    ...rates,
    webSearch: rates.webSearch ?? kept.webSearch,
    fileSearch: rates.fileSearch ?? kept.fileSearch,
    maxOutput: rates.maxOutput ?? kept.maxOutput,
    aliases: kept.aliases,
  })
  const when = until === undefined ? { fromMs } : { fromMs, untilMs: until }
  const { source: _, ...fields } = running === undefined ? {} : differences(setupOfPrice(running), setupOfPrice(draft))
  const action = running === undefined ? 'new' : Object.keys(fields).length === 0 ? 'unchanged' : 'changed'
  return { draft, when, said, action, fields, why: null }
}

function viewOf({ fingerprint, differences }: Proposal): z.input<typeof viewSchema> {
  const changes = differences.flatMap(({ draft, said, action, fields, why }) => {
    if (action === 'unchanged') return []
    const { model, tier, contextOver, input, cached, output } = setupOfPrice(draft)
    const times = { from: said.from === undefined ? null : timeText(said.from), until: timeTextOrNull(said.until ?? null) }
    return [{ model, tier, contextOver, ...times, action, fields: { ...fields }, input, cached, output, why }]
  })
  return { fingerprint, unchanged: differences.length - changes.length, changes }
}

async function acceptOne({ prices, fingerprint, models }: z.output<typeof acceptSchema>, parts: AdminParts): Promise<number> {
  const nowMs = parts.clock.nowMs()
  const book = await readBook(parts.database, nowMs)
  const proposal = proposalOf(prices, book, nowMs)
  if (proposal.fingerprint !== fingerprint)
    throw new Refusal(409, 'conflict', 'The price book has changed since this was proposed; look at the proposal again.')
  const wanted = proposal.differences.filter(
    ({ draft, action }) => action !== 'unchanged' && (models?.includes(draft.model) ?? action !== 'refused'),
  )
  const known = new Set(wanted.map(({ draft }) => draft.model))
  const missing = models?.findIndex(one => !known.has(one)) ?? -1
  if (missing >= 0)
    throw invalid([
      { path: ['models', missing], message: `models[${missing}] is ${JSON.stringify(models![missing])}, of which nothing is proposed.` },
    ])
  const refused = wanted.flatMap(({ why }) => why ?? [])
  if (refused.length > 0) throw invalid(refused.map(message => ({ path: ['models'], message })))
  const changes: LineChange[] = []
  for (const line of Map.groupBy(wanted, ({ draft }) => lineOf(draft)).values())
    changes.push(placeAll(line, sameLine(book.standing, line[0]!.draft)))
  const deeds = [...known].map(one => ({ what: 'import', target: `price ${one}` }))
  await save(parts, changeBook(book, changes, nowMs).steps, deeds)
  return changes.length
}
