export { PlayerBar } from './PlayerBar'
export { type Player, RATES, listen, timeNow, usePlayer } from './usePlayer'
