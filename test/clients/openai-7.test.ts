import OpenAI from 'openai'
import { clientWorld } from './journey.ts'
import { meetOpenAI } from './openai-manner.ts'

/** `openai` 7, as it comes from npm: what it tells its user of everything that can happen. */
meetOpenAI(OpenAI, clientWorld())
