/**
 * The functions a project's query may call. An allow list, because ClickHouse
 * has a thousand more and gets new ones with every version: among them are some
 * that read files, settings, dictionaries and other tables, name the host, or
 * see the server's own state. What is missing here may be added after asking
 * whether it sees anything but its arguments, and how long it works on one row,
 * during which nothing stops it: the distances between texts, which take the
 * product of their lengths, are left out for that.
 */

const words = (text: string) => text.trim().toLowerCase().split(/\s+/);

const SCALAR = words(`
  and or not xor
  equals notEquals less lessOrEquals greater greaterOrEquals isDistinctFrom isNotDistinctFrom
  in notIn globalIn globalNotIn nullIn notNullIn exists
  like notLike ilike notILike match
  if multiIf caseWithExpression caseWithExpr caseWithoutExpression caseWithoutExpr transform clamp greatest least
  isNull isNotNull isNullable isZeroOrNull ifNull nullIf coalesce assumeNotNull toNullable firstNonDefault lambda
  identity ignore materialize toTypeName isConstant byteSize

  plus minus multiply divide intDiv intDivOrZero intDivOrNull modulo moduloOrZero moduloOrNull mod positiveModulo negate abs
  divideOrNull divideDecimal multiplyDecimal gcd lcm max2 min2 avg2 midpoint sqr isFinite isInfinite isNaN ifNotFinite
  acos acosh asin asinh atan atan2 atanh cbrt cos cosh degrees e erf erfc exp exp10 exp2 hypot intExp10 intExp2 lgamma ln
  log log10 log1p log2 pi pow power radians sigmoid sign sin sinh sqrt tan tanh tgamma factorial widthBucket width_bucket
  ceil ceiling floor round roundAge roundBankers roundDown roundDuration roundToExp2 trunc truncate
  bitAnd bitCount bitHammingDistance bitNot bitOr bitRotateLeft bitRotateRight bitShiftLeft bitShiftRight bitTest bitTestAll
  bitTestAny bitXor proportionsZTest minSampleSizeContinuous minSampleSizeConversion
  rand rand32 rand64 randCanonical generateUUIDv4 generateUUIDv7

  array arrayAll arrayAvg arrayCompact arrayConcat arrayCount arrayCumSum arrayCumSumNonNegative arrayDifference arrayDistinct
  arrayDotProduct arrayElement arrayElementOrNull arrayEnumerate arrayEnumerateDense arrayEnumerateUniq arrayExcept arrayExists
  arrayFill arrayFilter arrayFirst arrayFirstIndex arrayFirstOrNull arrayFlatten flatten arrayIntersect
  arrayJaccardIndex arrayJoin arrayLast arrayLastIndex arrayLastOrNull arrayMap arrayMax arrayMin arrayPartialReverseSort
  arrayPartialSort arrayPopBack arrayPopFront arrayProduct arrayPushBack arrayPushFront arrayRemove arrayResize arrayReverse
  arrayReverseFill arrayReverseSort arrayReverseSplit arrayRotateLeft arrayRotateRight arrayShiftLeft arrayShiftRight
  arrayShingles arraySlice arraySort arraySplit arrayStringConcat arraySum arraySymmetricDifference arrayUnion arrayUniq
  arrayWithConstant arrayZip arrayZipUnaligned countEqual empty emptyArrayString emptyArrayUInt64 emptyArrayToSingle has
  hasAll hasAny indexOf indexOfAssumeSorted length notEmpty range replicate reverse
  map mapAdd mapAll mapApply mapConcat mapContains mapContainsKey mapContainsKeyLike mapContainsValue mapExists mapExtractKeyLike
  mapFilter mapFromArrays mapKeys mapPopulateSeries mapReverseSort mapSort mapSubtract mapUpdate mapValues
  extractKeyValuePairs
  tuple tupleConcat tupleDivide tupleDivideByNumber tupleElement tupleIntDiv tupleMinus tupleMultiply tupleMultiplyByNumber
  tupleNames tupleNegate tuplePlus tupleToNameValuePairs dotProduct
  L1Distance L1Norm L2Distance L2Norm cosineDistance

  addDate addDays addHours addInterval addMicroseconds addMilliseconds addMinutes addMonths addNanoseconds addQuarters
  addSeconds addWeeks addYears age changeDay changeHour changeMinute changeMonth changeSecond changeYear curdate current_date
  current_timestamp date_bin date_diff dateDiff date_format dateName date_trunc dateTrunc day dayOfMonth dayOfWeek dayOfYear
  formatDateTime formatDateTimeInJodaSyntax from_days from_unixtime fromUnixTimestamp fromUnixTimestamp64Micro
  fromUnixTimestamp64Milli fromUnixTimestamp64Nano fromUnixTimestamp64Second fromUTCTimestamp hour last_day makeDate makeDate32
  makeDateTime makeDateTime64 microsecond millisecond minute month monthName nanosecond now now64 quarter second subDate
  subtractDays subtractHours subtractInterval subtractMicroseconds subtractMilliseconds subtractMinutes subtractMonths
  subtractNanoseconds subtractQuarters subtractSeconds subtractWeeks subtractYears timeDiff timeSlot timeSlots timestamp
  timestamp_diff timestampDiff time_bucket toDayOfMonth toDayOfWeek toDayOfYear toDaysInMonth toDaysSinceYearZero toHour
  toISOWeek toISOYear toLastDayOfMonth toLastDayOfWeek toMicrosecond toMillisecond toMinute toMonday toMonth
  toMonthNumSinceEpoch toNanosecond toQuarter toRelativeDayNum toRelativeHourNum toRelativeMinuteNum toRelativeMonthNum
  toRelativeQuarterNum toRelativeSecondNum toRelativeWeekNum toRelativeYearNum toSecond toStartOfDay toStartOfFifteenMinutes
  toStartOfFiveMinute toStartOfFiveMinutes toStartOfHour toStartOfInterval toStartOfISOYear toStartOfMicrosecond
  toStartOfMillisecond toStartOfMinute toStartOfMonth toStartOfNanosecond toStartOfQuarter toStartOfSecond toStartOfTenMinutes
  toStartOfWeek toStartOfYear toTimezone timezoneOf timezoneOffset toTimeWithFixedDate toUnixTimestamp to_unixtime
  toUnixTimestamp64Micro toUnixTimestamp64Milli toUnixTimestamp64Nano toUnixTimestamp64Second toUTCTimestamp toWeek toYear
  toYearNumSinceEpoch toYearWeek toYYYYMM toYYYYMMDD toYYYYMMDDhhmmss today tumble tumbleEnd tumbleStart hop hopEnd hopStart
  UTCTimestamp week year yesterday YYYYMMDDToDate YYYYMMDDhhmmssToDateTime

  CAST accurateCast accurateCastOrDefault accurateCastOrNull DATE
  parseDateTime parseDateTimeOrNull parseDateTimeOrZero parseDateTime64 parseDateTime64OrNull parseDateTime64OrZero
  parseDateTime32BestEffort parseDateTime32BestEffortOrNull parseDateTime32BestEffortOrZero parseDateTime64BestEffort
  parseDateTime64BestEffortOrNull parseDateTime64BestEffortOrZero parseDateTimeBestEffort parseDateTimeBestEffortOrNull
  parseDateTimeBestEffortOrZero parseDateTimeInJodaSyntax parseDateTimeInJodaSyntaxOrNull parseDateTimeInJodaSyntaxOrZero
  reinterpretAsDate reinterpretAsDateTime reinterpretAsFixedString reinterpretAsFloat32 reinterpretAsFloat64 reinterpretAsInt128
  reinterpretAsInt16 reinterpretAsInt32 reinterpretAsInt64 reinterpretAsInt8 reinterpretAsString reinterpretAsUInt128
  reinterpretAsUInt16 reinterpretAsUInt256 reinterpretAsUInt32 reinterpretAsUInt64 reinterpretAsUInt8 reinterpretAsUUID
  toBool toFixedString toInterval toIntervalDay toIntervalHour toIntervalMicrosecond toIntervalMillisecond toIntervalMinute
  toIntervalMonth toIntervalNanosecond toIntervalQuarter toIntervalSecond toIntervalWeek toIntervalYear toLowCardinality toString
  toStringCutToZero toDecimalString str_to_date

  ascii base32Decode base32Encode base58Decode base58Encode base64Decode base64Encode base64URLDecode base64URLEncode basename
  bin caseFoldUTF8 char char_length character_length compareSubstrings concat concatAssumeInjective
  concatWithSeparator concat_ws countMatches countMatchesCaseInsensitive countSubstrings countSubstringsCaseInsensitive
  decodeHTMLComponent decodeXMLComponent encodeXMLComponent endsWith
  endsWithCaseInsensitive endsWithUTF8 extract extractAll extractAllGroups extractAllGroupsHorizontal extractAllGroupsVertical
  extractGroups extractTextFromHTML firstLine format from_base64 hasSubsequence hasSubsequenceCaseInsensitive hasToken
  hasTokenCaseInsensitive hasTokenCaseInsensitiveOrNull hasTokenOrNull hex initcap initcapUTF8 instr isValidASCII isValidUTF8
  lcase left leftPad leftPadUTF8 leftUTF8 lengthUTF8 locate lower
  lowerUTF8 lpad ltrim mid multiMatchAllIndices multiMatchAny multiMatchAnyIndex multiSearchAllPositions
  multiSearchAllPositionsCaseInsensitive multiSearchAny multiSearchAnyCaseInsensitive multiSearchFirstIndex
  multiSearchFirstIndexCaseInsensitive multiSearchFirstPosition multiSearchFirstPositionCaseInsensitive naturalSortKey
  ngrams normalizeUTF8NFC normalizeUTF8NFD
  normalizeUTF8NFKC normalizeUTF8NFKD octet_length overlay overlayUTF8 position positionCaseInsensitive
  positionCaseInsensitiveUTF8 positionUTF8 printf regexp_extract regexpExtract regexp_replace regexp_matches regexp_substr
  regexpQuoteMeta repeat replace replaceAll replaceOne replaceRegexpAll replaceRegexpOne reverseUTF8 right rightPad
  rightPadUTF8 rightUTF8 rpad rtrim soundex space splitByAlpha splitByChar splitByNonAlpha splitByRegexp splitByString
  splitByWhitespace startsWith startsWithCaseInsensitive startsWithUTF8 substr substring substringIndex
  substringIndexUTF8 substring_index substringUTF8 to_base64 tokens toValidUTF8 translate translateUTF8 trim trimBoth trimLeft
  trimRight tryBase32Decode tryBase58Decode tryBase64Decode tryBase64URLDecode ucase unbin unhex upper upperUTF8
  appendTrailingCharIfAbsent alphaTokens

  CRC32 CRC32IEEE CRC64 cityHash64 farmFingerprint64 farmHash64 halfMD5 intHash32 intHash64 javaHash jumpConsistentHash MD5
  metroHash64 murmurHash2_32 murmurHash2_64 murmurHash3_128 murmurHash3_32 murmurHash3_64 SHA1 SHA224 SHA256 SHA384 SHA512
  sipHash128 sipHash64 URLHash xxh3 xxHash32 xxHash64

  JSONAllPaths JSONArrayLength JSON_ARRAY_LENGTH JSON_EXISTS JSON_QUERY JSON_VALUE JSONExtract JSONExtractArrayRaw JSONExtractBool
  JSONExtractCaseInsensitive JSONExtractFloat JSONExtractInt JSONExtractKeys JSONExtractKeysAndValues JSONExtractKeysAndValuesRaw
  JSONExtractRaw JSONExtractString JSONExtractStringCaseInsensitive JSONExtractUInt JSONHas JSONKey JSONLength JSONMergePatch
  JSONType isValidJSON prettyPrintJSON simpleJSONExtractBool simpleJSONExtractFloat simpleJSONExtractInt simpleJSONExtractRaw
  simpleJSONExtractString simpleJSONExtractUInt simpleJSONHas toJSONString visitParamExtractBool visitParamExtractFloat
  visitParamExtractInt visitParamExtractRaw visitParamExtractString visitParamExtractUInt visitParamHas
  dynamicElement dynamicType variantElement variantType

  cutFragment cutIPv6 cutQueryString cutQueryStringAndFragment cutToFirstSignificantSubdomain cutURLParameter cutWWW
  decodeURLComponent decodeURLFormComponent domain domainRFC domainWithoutWWW encodeURLComponent encodeURLFormComponent
  extractURLParameter extractURLParameterNames extractURLParameters firstSignificantSubdomain fragment netloc path pathFull port
  protocol queryString queryStringAndFragment topLevelDomain URLHierarchy URLPathHierarchy
  IPv4CIDRToRange IPv4NumToString IPv4NumToStringClassC IPv4StringToNum IPv4StringToNumOrDefault IPv4StringToNumOrNull IPv4ToIPv6
  IPv6CIDRToRange IPv6NumToString IPv6StringToNum IPv6StringToNumOrDefault IPv6StringToNumOrNull isIPAddressInRange isIPv4String
  isIPv6String toIPv4 toIPv4OrDefault toIPv4OrNull toIPv4OrZero toIPv6 toIPv6OrDefault toIPv6OrNull toIPv6OrZero
  geoDistance geohashDecode geohashEncode greatCircleAngle greatCircleDistance pointInPolygon
  UUIDNumToString UUIDStringToNum UUIDToNum UUIDv7ToDateTime toUUID toUUIDOrDefault toUUIDOrNull toUUIDOrZero
  bar formatReadableDecimalSize formatReadableQuantity formatReadableSize formatReadableTimeDelta parseTimeDelta
  finalizeAggregation
`);

/** `toInt8` and its kin, each also in the forms that give something instead of failing. */
const CONVERTED_TO = words(`
  Date Date32 DateTime DateTime32 DateTime64 Decimal32 Decimal64 Decimal128 Decimal256 Float32 Float64
  Int8 Int16 Int32 Int64 Int128 Int256 UInt8 UInt16 UInt32 UInt64 UInt128 UInt256
`);
const CONVERSIONS = CONVERTED_TO.flatMap((type) => ['', 'ordefault', 'ornull', 'orzero'].map((or) => `to${type}${or}`));

const AGGREGATE = words(`
  any anyHeavy anyLast any_value anyRespectNulls anyLastRespectNulls any_respect_nulls anyLast_respect_nulls argAndMax argAndMin
  argMax argMin array_agg avg avgWeighted boundingRatio corr corrStable count covarPop covarSamp cramersV cume_dist deltaSum
  deltaSumTimestamp dense_rank denseRank entropy exponentialMovingAverage exponentialTimeDecayedAvg exponentialTimeDecayedCount
  exponentialTimeDecayedMax exponentialTimeDecayedSum first_value groupArray groupArrayInsertAt groupArrayIntersect
  groupArrayLast groupArrayMovingAvg groupArrayMovingSum groupArraySample groupArraySorted groupBitAnd groupBitOr groupBitXor
  group_concat groupConcat groupUniqArray histogram intervalLengthSum kurtPop kurtSamp lag lagInFrame last_value lead
  leadInFrame mannWhitneyUTest max max_by maxIntersections maxIntersectionsPosition maxMap meanZTest median medianExact
  medianTDigest min min_by minMap nonNegativeDerivative nth_value ntile percent_rank percentRank quantile quantileDD
  quantileDeterministic quantileExact quantileExactExclusive quantileExactHigh quantileExactInclusive quantileExactLow
  quantileExactWeighted quantileGK quantileInterpolatedWeighted quantiles quantilesExact quantilesExactExclusive
  quantilesExactInclusive quantilesExactWeighted quantilesGK quantilesTDigest quantilesTDigestWeighted quantilesTiming
  quantileTDigest quantileTDigestWeighted quantileTiming quantileTimingWeighted rank rankCorr retention row_number sequenceCount
  sequenceMatch sequenceMatchEvents sequenceNextNode simpleLinearRegression singleValueOrNull skewPop skewSamp sparkbar stddevPop
  stddevPopStable stddevSamp stddevSampStable stddev_pop stddev_samp string_agg studentTTest sum sumCount sumKahan sumMap
  sumMapFiltered sumWithOverflow topK topKWeighted approx_top_count approx_top_k approx_top_sum uniq uniqCombined uniqCombined64
  uniqExact uniqHLL12 uniqUpTo varPop varPopStable varSamp varSampStable var_pop var_samp welchTTest windowFunnel
`);

/** What may be put behind the name of an aggregate function, several times. */
const COMBINATOR =
  /(?:simplestate|ordefault|distinct|resample|foreach|argmax|argmin|ornull|tuple|merge|state|array|null|map|if)$/;

const ALLOWED: ReadonlySet<string> = new Set([...SCALAR, ...CONVERSIONS, ...AGGREGATE]);
const AGGREGATES: ReadonlySet<string> = new Set(AGGREGATE);

/** Whether a query may call the function, however the name is cased. */
export function isAllowedFunction(name: string): boolean {
  let rest = name.toLowerCase();
  if (ALLOWED.has(rest)) return true;
  while (COMBINATOR.test(rest)) {
    rest = rest.replace(COMBINATOR, '');
    if (AGGREGATES.has(rest)) return true;
  }
  return false;
}
