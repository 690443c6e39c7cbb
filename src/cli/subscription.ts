import { type Command, Option } from 'commander'
import { pathOf } from './client.ts'
import { type Column, cell, type Item, itemsOf, printFields, printItem, printJson, printLine, printTable, wrong } from './io.ts'
import { type Asked, type Cli, everything, noun, verb } from './verb.ts'
import { decimalOrNone, positiveNumber, time } from './words.ts'

export function subscriptionCommand(program: Command, cli: Cli): void {
  const command = noun(program, 'subscription', "People's share of a group for a time")
  assignVerb(command, cli)
  listSubscriptions(command, cli)
  showSubscription(command, cli)
  setLimits(command, cli)
  extendVerb(command, cli)
  const end = verb(command, 'end <id>', 'End a subscription now', 'headgate subscription end 0198c0de-…')
  end.action(async (id: string, asked: Asked) => {
    const item = await cli.api().send('POST', pathOf('subscriptions', id, 'end'))
    if (asked.json) return printJson(cli.terminal, item)
    printLine(cli.terminal, `The subscription ${id} has ended.`)
  })
}

function assignVerb(command: Command, cli: Cli): void {
  const example = 'headgate subscription assign --user dev@example.com --group team --days 30 --daily 5.00'
  const assign = verb(command, 'assign', 'Give a user a share of a group', example)
    .requiredOption('--user <email>', 'who')
    .requiredOption('--group <name>', 'of which group')
    .option('--starts-at <time>', 'when it begins; now when not given', time)
    .addOption(new Option('--ends-at <time>', 'when it ends').argParser(time).conflicts('days'))
    .option('--days <days>', 'or how many days it lasts', positiveNumber)
  limitOptions(assign).action(async ({ json, ...options }: Item) => {
    const fields = withLimits(options)
    const item = await cli.api().send('POST', pathOf('subscriptions'), fields)
    if (json) return printJson(cli.terminal, item)
    printLine(cli.terminal, `${cell(fields.user)} has a share of ${cell(fields.group)} until ${cell(item.endsAt)}.`)
  })
}

/** Of a subscription, or of a code for one. */
export function limitOptions(command: Command): Command {
  return command
    .option('--daily <usd>', 'the most in each window of 24 h, or none', decimalOrNone)
    .option('--weekly <usd>', 'the most in each window of 7 × 24 h, or none', decimalOrNone)
    .option('--monthly <usd>', 'the most in each window of 30 × 24 h, or none', decimalOrNone)
}

/** The same as the gateway names them. */
export function withLimits({ daily, weekly, monthly, ...fields }: Item): Item {
  return { ...fields, dailyLimit: daily, weeklyLimit: weekly, monthlyLimit: monthly }
}

interface ListAsked extends Asked {
  readonly user?: string
}

function listSubscriptions(command: Command, cli: Cli): void {
  verb(command, 'list', 'List the subscriptions', 'headgate subscription list --user dev@example.com')
    .option('--user <email>', 'of one user only')
    .action(async ({ json, ...query }: ListAsked) => {
      const page = await cli.api().list(pathOf('subscriptions'), query, everything)
      if (json) return printJson(cli.terminal, page)
      printTable(cli.terminal, columns, page.items, 'There is no subscription yet.')
    })
}

function showSubscription(command: Command, cli: Cli): void {
  const example = 'headgate subscription show dev@example.com'
  verb(command, 'show', 'Show what is left of a subscription, or of all that a user has', example)
    .argument('<id|user>', 'one subscription by its id, or an e-mail address')
    .action(async (which: string, { json }: Asked) => {
      const ids = which.includes('@') ? await idsOfUser(which, cli) : [which]
      const shown: Item[] = []
      for (const id of ids) shown.push(await cli.api().get(pathOf('subscriptions', id)))
      if (json) return printJson(cli.terminal, which.includes('@') ? { items: shown } : shown[0])
      if (shown.length === 0) printLine(cli.terminal, `${which} has no subscription that runs or is to come.`)
      for (const [index, item] of shown.entries()) {
        if (index > 0) printLine(cli.terminal, '')
        printSubscription(item, cli)
      }
    })
}

/** Those that have not ended: what is left of the others is nobody's any more. */
async function idsOfUser(user: string, cli: Cli): Promise<string[]> {
  const { items } = await cli.api().list(pathOf('subscriptions'), { user }, everything)
  return items.filter(({ state }) => state !== 'ended').map(({ id }) => String(id))
}

function printSubscription({ windows, left, ...subscription }: Item, { terminal }: Cli): void {
  const { id, user, group, state, startsAt, endsAt } = subscription
  printFields(terminal, [
    ['subscription', id],
    ['user', user],
    ['group', group],
    ['state', state],
    ['from', startsAt],
    ['to', endsAt],
    ['left', left === null ? 'no limit' : `${cell(left)} USD`],
  ])
  printTable(terminal, windowColumns, itemsOf(windows))
}

const windowColumns: readonly Column[] = [
  { title: 'WINDOW', of: one => one.window },
  { title: 'LIMIT', of: one => one.limit, right: true },
  { title: 'USED', of: one => one.used, right: true },
  { title: 'HELD', of: one => one.held, right: true },
  { title: 'LEFT', of: one => one.left, right: true },
  { title: 'BEGINS', of: one => one.beginsAt },
  { title: 'RESETS', of: one => one.resetsAt },
]

function setLimits(command: Command, cli: Cli): void {
  const example = 'headgate subscription set 0198c0de-… --daily 10.00 --weekly none'
  const set = verb(command, 'set <id>', 'Change the limits of a subscription; they hold at once', example)
  limitOptions(set).action(async (id: string, { json, ...options }: Item) => {
    if (Object.keys(options).length === 0) throw wrong(`There is nothing to change; as in: ${example}`)
    const item = await cli.api().send('PATCH', pathOf('subscriptions', id), withLimits(options))
    if (json) return printJson(cli.terminal, item)
    printLine(cli.terminal, `The subscription ${id} is changed.`)
    printItem(cli.terminal, item)
  })
}

interface ExtendAsked extends Asked {
  readonly days?: number
  readonly until?: string
}

function extendVerb(command: Command, cli: Cli): void {
  const example = 'headgate subscription extend 0198c0de-… --days 30'
  verb(command, 'extend <id>', 'Let a subscription last longer', example)
    .addOption(new Option('--days <days>', 'how many days longer').argParser(positiveNumber).conflicts('until'))
    .option('--until <time>', 'or when it shall end: later than it does', time)
    .action(async (id: string, { json, ...extension }: ExtendAsked) => {
      if (Object.keys(extension).length === 0) throw wrong(`An extension takes --days or --until; as in: ${example}`)
      const item = await cli.api().send('POST', pathOf('subscriptions', id, 'extend'), extension)
      if (json) return printJson(cli.terminal, item)
      printLine(cli.terminal, `The subscription ${id} lasts until ${cell(item.endsAt)}.`)
    })
}

const columns: readonly Column[] = [
  { title: 'ID', of: subscription => subscription.id },
  { title: 'USER', of: subscription => subscription.user },
  { title: 'GROUP', of: subscription => subscription.group },
  { title: 'STATE', of: subscription => subscription.state },
  { title: 'FROM', of: subscription => subscription.startsAt },
  { title: 'TO', of: subscription => subscription.endsAt },
  { title: 'DAILY', of: subscription => subscription.dailyLimit, right: true },
  { title: 'WEEKLY', of: subscription => subscription.weeklyLimit, right: true },
  { title: 'MONTHLY', of: subscription => subscription.monthlyLimit, right: true },
]
