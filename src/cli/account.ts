import { type Command, InvalidArgumentError, Option } from 'commander'
import { pathOf } from './client.ts'
import { cell, Failure, type Item, printItem, printJson, printLine, wrong } from './io.ts'
import {
  type Asked,
  addVerb,
  type Cli,
  type Fields,
  type Kind,
  listVerb,
  noun,
  removeVerb,
  setVerb,
  showVerb,
  switchVerbs,
  verb,
} from './verb.ts'
import { collect, collectModel, positiveNumber, textOrNone, wholeNumber, wholeNumberOrNone } from './words.ts'

export function accountCommand(program: Command, cli: Cli): void {
  const command = noun(program, 'account', 'Credentials at upstreams, and how they fare')
  const kind: Kind = { cli, command, path: 'accounts', word: 'account', argument: '<name>', sample: 'a1', columns }
  const fields: Fields = { ...examples, options: accountOptions, body: options => withSecret(options, cli) }
  addVerb(kind, fields)
  listVerb(kind)
  showVerb(kind)
  setVerb(kind, fields)
  switchVerbs(kind)
  testVerb(kind)
  restVerbs(kind)
  removeVerb(kind)
}

const columns: Kind['columns'] = [
  { title: 'NAME', of: account => account.name },
  { title: 'BASE URL', of: account => account.baseUrl },
  { title: 'GROUPS', of: account => account.groups },
  { title: 'AT ONCE', of: account => account.concurrency, right: true },
  { title: 'PRIORITY', of: account => account.priority, right: true },
  { title: 'WEIGHT', of: account => account.weight, right: true },
  { title: 'STATE', of: account => (account.condition as Item | undefined)?.state },
  { title: 'UNTIL', of: account => (account.condition as Item | undefined)?.until },
  { title: 'CREDENTIAL', of: account => ((account.condition as Item | undefined)?.flagged ? 'refused' : 'ok') },
  { title: 'WHY', of: account => (account.condition as Item | undefined)?.reason },
]

const examples = {
  addExample: 'OPENAI_API_KEY=… headgate account add a1 --base-url https://api.openai.com/v1 --api-key-env OPENAI_API_KEY --group default',
  setExample: 'headgate account set a1 --concurrency 20 --priority 1',
}

function accountOptions(command: Command, isNew: boolean): void {
  if (isNew) command.requiredOption('--base-url <url>', 'where the upstream is, such as https://api.openai.com/v1')
  else command.option('--name <name>', 'another name').option('--base-url <url>', 'where the upstream is')
  command
    .addOption(new Option('--api-key-env <variable>', "read the upstream's key from this variable").conflicts('apiKeyStdin'))
    .option('--api-key-stdin', "read the upstream's key from standard input")
    .option('--group <name>', 'a group it serves; may be given several times', collect)
    .option('--concurrency <calls>', 'calls at once; 0 or less is no limit', wholeNumber)
    .option('--priority <number>', 'lower is chosen first', wholeNumber)
    .option('--weight <number>', 'its share among equals, 1 or more', positiveNumber)
    .option('--model <requested[=upstream]>', 'a model it serves; may be given several times; none: all of them', collectModel)
    .option('--capability <name=yes|no>', 'where it differs; may be given several times; auth=bearer|api-key', collectCapability)
    .option('--proxy <url>', 'an outbound HTTP proxy, or none', textOrNone)
    .option('--allow-private-address', 'it may be at a private address')
    .option('--no-allow-private-address', 'it may not')
    .option('--default-tier <tier>', 'the service tier that "auto" means there')
    .option('--organization <name>', 'who shares encrypted reasoning with it; or none, for nobody', textOrNone)
    .option('--requests-per-minute <requests>', 'or none', wholeNumberOrNone)
    .option('--tokens-per-minute <tokens>', 'or none', wholeNumberOrNone)
  // Both options give it a default of their own, which would be sent as if somebody had asked for it.
  command.setOptionValue('allowPrivateAddress', undefined)
}

function testVerb({ cli, command }: Kind): void {
  const test = verb(command, 'test <name>', 'Send one small call and say how it went', 'headgate account test a1')
  test.option('--model <name>', 'the model to ask, as clients name it').action(async (name: string, { json, ...body }: Item) => {
    const item = await cli.api().send('POST', pathOf('accounts', name, 'test'), body)
    if (json) printJson(cli.terminal, item)
    else printItem(cli.terminal, item)
    if (item.ok !== true) throw new Failure(`The account ${name} did not pass its test${reasonOf(item)}.`)
  })
}

function restVerbs({ cli, command }: Kind): void {
  const rest = verb(command, 'rest <name>', 'Let nobody choose it for a while', 'headgate account rest a1 --minutes 30')
  rest
    .option('--minutes <minutes>', 'for how long', positiveNumber, 10)
    .option('--why <text>', 'what others shall read')
    .action(async (name: string, { json, ...body }: Item) => {
      const item = await cli.api().send('POST', pathOf('accounts', name, 'rest'), body)
      if (json) return printJson(cli.terminal, item)
      printLine(cli.terminal, `The account ${name} rests for ${cell(body.minutes)} min.`)
    })
  const resume = verb(command, 'resume <name>', 'End its rest and forget its faults', 'headgate account resume a1')
  resume.action(async (name: string, asked: Asked) => {
    const item = await cli.api().send('POST', pathOf('accounts', name, 'resume'))
    if (asked.json) return printJson(cli.terminal, item)
    printLine(cli.terminal, `The account ${name} may be chosen again.`)
  })
}

function reasonOf({ message }: Item): string {
  return typeof message === 'string' ? `: ${cell(message).replace(/\.$/, '')}` : ''
}

const capabilityNames = [
  ...['responses', 'chat', 'embeddings', 'websocket', 'background', 'compact'],
  ...['stateful', 'safetyIdentifier', 'serviceTiers', 'hostedTools'],
]

function collectCapability(text: string, before: Item | undefined): Item {
  const [name = '', value = ''] = text.split('=')
  if (name === 'auth' && (value === 'bearer' || value === 'api-key')) return { ...before, auth: value }
  if (!capabilityNames.includes(name) || (value !== 'yes' && value !== 'no')) {
    throw new InvalidArgumentError(`It takes one of ${capabilityNames.join(', ')} with =yes or =no, or auth=bearer, or auth=api-key.`)
  }
  return { ...before, [name]: value === 'yes' }
}

/** The secret is never an option's value, because others on this machine can read command lines. */
async function withSecret(options: Item, { terminal }: Cli): Promise<Item> {
  const { apiKeyEnv, apiKeyStdin, group, model, capability, ...fields } = options
  const body: Record<string, unknown> = { ...fields }
  if (group !== undefined) body.groups = group
  if (model !== undefined) body.models = model
  if (capability !== undefined) body.capabilities = capability
  if (typeof apiKeyEnv === 'string') {
    body.apiKey = terminal.env[apiKeyEnv]
    if (!body.apiKey) throw wrong(`The variable ${apiKeyEnv} is not set; --api-key-env takes the name of the variable that holds the key.`)
  }
  if (apiKeyStdin) {
    body.apiKey = (await terminal.stdin()).trim()
    if (body.apiKey === '') throw wrong('Nothing came on standard input; --api-key-stdin reads the key from there.')
  }
  return body
}
