import { type Column, cell, dim, type Item, itemsOf, printFields, printLine, printTable, type Terminal } from './io.ts'

/** Everything about one call, for a person: who asked what, who answered, what it used, and what it cost. */
export function printReceipt(terminal: Terminal, call: Item): void {
  part(terminal, `Receipt ${cell(call.id)}`, who(call))
  part(terminal, 'What came of it', ending(call))
  printLine(terminal, dim(terminal, 'Attempts'))
  printTable(terminal, attemptColumns, itemsOf(call.attempts), 'None: it reached no upstream.')
  printLine(terminal, '')
  part(terminal, 'Tokens', tokens(call))
  part(terminal, 'Money', money(call))
  part(terminal, 'Times', times(call))
}

type Field = readonly [string, unknown]

/** What each way of knowing the amount means for whoever pays. */
const bases: Readonly<Record<string, string>> = {
  reported: 'the upstream said what it used, in the answer that the client saw',
  drained: 'the client had left; the answer was read on until the upstream said what it used',
  estimated: 'the upstream never said; this is our estimate from what was sent and received',
  pending: 'the response goes on in the background; it is charged once, when it is over',
  none: 'nothing was used, or nobody can know; it costs nothing',
}

/** Why a call can cost more than could be held for it. */
const reasons: Readonly<Record<string, string>> = {
  hosted_tools: 'tools that the upstream runs itself read or cost more than could be known before',
  stored_context: 'what is stored upstream was longer than was known',
  media: 'images or files came to more tokens than their rule says',
  dense_input: 'the text came to more tokens than the upper estimate',
  ceiling_exceeded: 'the upstream wrote more than the ceiling of output allowed',
  dearer_price: 'what was served costs more than what was asked for',
  hold_expired: 'it was settled after its hold had expired, and the money had been spent elsewhere',
}

const attemptColumns: readonly Column[] = [
  { title: '#', of: attempt => attempt.number, right: true },
  { title: 'ACCOUNT', of: attempt => attempt.account },
  { title: 'MODEL', of: attempt => attempt.model },
  { title: 'STATUS', of: attempt => attempt.status, right: true },
  { title: 'FAULT', of: attempt => attempt.fault },
  { title: 'FIRST EVENT', of: attempt => msText(attempt.firstEventMs), right: true },
  { title: 'TOOK', of: attempt => msText(attempt.durationMs), right: true },
  { title: 'ANSWERED', of: attempt => attempt.answered },
  { title: 'UPSTREAM ID', of: attempt => attempt.upstreamRequestId },
]

function part(terminal: Terminal, title: string, fields: readonly Field[]): void {
  printLine(terminal, dim(terminal, title))
  printFields(
    terminal,
    fields.map(([name, value]) => [`  ${name}`, value]),
  )
  printLine(terminal, '')
}

function who(call: Item): Field[] {
  const { requestedModel, servedModel } = call
  const model =
    servedModel === null || servedModel === requestedModel ? requestedModel : `${cell(requestedModel)}, served as ${cell(servedModel)}`
  return [
    ['user', call.user],
    ['key', call.keyName === null ? call.key : `${cell(call.keyName)} (${cell(call.key)})`],
    ['group', call.group],
    ['account', call.account],
    ['asked', `${cell(call.path)}${call.stream ? ', as a stream' : ''}`],
    ['model', model],
    ['tier', tierText(call)],
    ['from', call.address],
    ['client', call.userAgent],
  ]
}

/** `fast` and `priority` are one tier under two names; anything else in place of the served tier is worth a word. */
function tierText({ tier, priceTier }: Item): unknown {
  const isPriced = priceTier === null || priceTier === undefined || priceTier === tier || priceTier !== 'default'
  return isPriced ? tier : `${cell(tier)}, priced as default: the price book had no price for that tier`
}

function ending(call: Item): Field[] {
  const fields: Field[] = [
    ['status', call.status],
    ['ended', call.ended],
  ]
  if (call.fault !== null) fields.push(['fault', call.fault])
  if (call.instructionsAdded) fields.push(['changed', 'the default instructions were added'])
  if (call.outputLoweredTo !== null)
    fields.push(['changed', `the ceiling of output was lowered to ${cell(call.outputLoweredTo)} tokens, which is what there was money for`])
  if (call.repaired !== null)
    fields.push(['changed', `sent without ${cell(call.repaired)}, which the organisation of the account could not read`])
  return fields
}

function tokens(call: Item): Field[] {
  const fresh = Math.max(0, Number(call.inputTokens) - Number(call.cachedTokens) - Number(call.cacheWriteTokens))
  const fields: Field[] = [
    [
      'input',
      `${cell(call.inputTokens)} (${fresh} fresh, ${cell(call.cachedTokens)} cached, ${cell(call.cacheWriteTokens)} written to the cache)`,
    ],
    ['output', `${cell(call.outputTokens)} (${cell(call.reasoningTokens)} of them reasoning)`],
  ]
  if (Number(call.cacheWrite12hTokens) > 0) fields.push(['kept for 12 h', call.cacheWrite12hTokens])
  if (Number(call.webSearches) > 0) fields.push(['web searches', call.webSearches])
  if (Number(call.fileSearches) > 0) fields.push(['file searches', call.fileSearches])
  return fields
}

function money(call: Item): Field[] {
  const basis = String(call.basis)
  const fields: Field[] = [
    ['cost', `${cell(call.cost)} USD`],
    ['known by', `${basis}: ${bases[basis] ?? 'a way that this version does not know'}`],
    ['price version', call.priceId],
    ['held before', `${cell(call.held)} USD`],
  ]
  if (isItem(call.refund)) fields.push(['given back', givenBack(call.refund)])
  if (Number(call.uncollected) > 0) {
    const why = reasons[String(call.uncollectedWhy)]
    fields.push(['uncollected', `${cell(call.uncollected)} USD of it, borne by the operator${why === undefined ? '' : `: ${why}`}`])
  }
  return fields
}

function isItem(value: unknown): value is Item {
  return typeof value === 'object' && value !== null
}

function givenBack({ amount, author, reason, at }: Item): string {
  return `${cell(amount)} USD of it, by ${cell(author)} at ${cell(at)}: ${cell(reason)}`
}

function times(call: Item): Field[] {
  return [
    ['began', call.beganAt],
    ['in line', msText(call.lineMs)],
    ['first token', msText(call.firstTokenMs)],
    ['took', msText(call.durationMs)],
  ]
}

function msText(value: unknown): string | null {
  return typeof value === 'number' ? `${value} ms` : null
}
