{% macro single_spaced(text) -%}
    {{ adapter.dispatch('single_spaced')(text) }}
{%- endmacro %}


{#- Most texts have single blanks already, and a match takes a quarter of the time of a replacement. -#}
{% macro default__single_spaced(text) -%}
    trim(
        if(
            regexp_matches({{ text }}, '  |\p{Cc}|[^\P{Z} ]'),
            regexp_replace({{ text }}, '[\p{Z}\p{Cc}]+', ' ', 'g'),
            {{ text }}
        )
    )
{%- endmacro %}


{% macro spark__single_spaced(text) -%}
    trim(regexp_replace({{ text }}, r'[\p{Z}\p{Cc}]+', ' '))
{%- endmacro %}


{% macro without_tags(text) -%}
    {{ adapter.dispatch('without_tags')(text) }}
{%- endmacro %}


{% macro default__without_tags(text) -%}
    regexp_replace({{ text }}, '<[a-zA-Z/!][^<>]*>', ' ', 'g')
{%- endmacro %}


{% macro spark__without_tags(text) -%}
    regexp_replace({{ text }}, '<[a-zA-Z/!][^<>]*>', ' ')
{%- endmacro %}


{% macro decoded_entities(text) -%}
    {{ adapter.dispatch('decoded_entities')(text) }}
{%- endmacro %}


{% macro default__decoded_entities(text) -%}
    case
        when contains({{ text }}, '&') then array_to_string(
            list_transform(
                regexp_extract_all({{ text }}, '{{ entity_or_text() }}'),
                lambda piece: {{ decoded_piece('piece') }}
            ),
            ''
        )
        else {{ text }}
    end
{%- endmacro %}


{% macro spark__decoded_entities(text) -%}
    case
        when contains({{ text }}, '&') then array_join(
            transform(
                regexp_extract_all({{ text }}, r'{{ entity_or_text() }}', 0),
                piece -> {{ decoded_piece('piece') }}
            ),
            ''
        )
        else {{ text }}
    end
{%- endmacro %}


{% macro entity_or_text() -%}
    &#[0-9]+;|&#[xX][0-9a-fA-F]+;|&[a-zA-Z][0-9a-zA-Z]*;|[^&]+|&
{%- endmacro %}


{% macro decoded_piece(piece) -%}
    {{ adapter.dispatch('decoded_piece')(piece) }}
{%- endmacro %}


{% macro default__decoded_piece(piece) -%}
    {%- set code_point %}try_cast(
            if({{ piece }}[3] in ('x', 'X'), '0x' || {{ piece }}[4:-2], {{ piece }}[3:-2]) as integer
        )
    {%- endset -%}
    case
        when {{ piece }} not like '&%;' then {{ piece }}
        when {{ piece }} like '&#%' then coalesce(
            case {{ code_point }}
            {%- for code, character in windows_1252().items() %}
                when {{ code }} then '{{ character }}'
            {%- endfor %}
                else try(chr({{ code_point }}))
            end,
            {{ piece }}
        )
        else case {{ piece }}
            when '&amp;' then '&'
        {%- for name, character in named_entities().items() %}
            when '&{{ name }};' then '{{ character | replace("'", "''") }}'
        {%- endfor %}
            else {{ piece }}
        end
    end
{%- endmacro %}


{#-
    With maps, since Spark would compile each case of a `case` with its operand, to more than Java allows in a method. A
    list of one code point gives it a name.
-#}
{% macro spark__decoded_piece(piece) -%}
    case
        when {{ piece }} not like '&%;' then {{ piece }}
        when {{ piece }} like '&#%' then coalesce(
            transform(
                array({{ code_point_in_spark(piece) }}),
                code_point -> coalesce(
                    map(
                    {%- for code, character in windows_1252().items() -%}
                        {{ code }}, '{{ character }}'{{ ", " if not loop.last }}
                    {%- endfor -%}
                    )[code_point],
                    {{ character_in_spark('code_point') }}
                )
            )[0],
            {{ piece }}
        )
        else coalesce(
            map(
                '&amp;', '&'
            {%- for name, character in named_entities().items() -%}
                , '&{{ name }};', '{{ character | replace("'", "''") }}'
            {%- endfor -%}
            )[{{ piece }}],
            {{ piece }}
        )
    end
{%- endmacro %}


{#- Eight hexadecimal digits are enough for every integer, and `conv` stops at numbers that are too long for it. -#}
{% macro code_point_in_spark(entity) -%}
    {%- set digits = "ltrim('0', substring(" ~ entity ~ ", 4, length(" ~ entity ~ ") - 4))" -%}
    try_cast(
        case
            when substring({{ entity }}, 3, 1) not in ('x', 'X')
                then substring({{ entity }}, 3, length({{ entity }}) - 3)
            when length({{ digits }}) <= 8 then conv(concat('0', {{ digits }}), 16, 10)
        end as integer
    )
{%- endmacro %}


{#- Spark's `chr` knows 256 characters. The halves of a pair of UTF-16 are no characters. -#}
{% macro character_in_spark(code_point) -%}
    case
        when {{ code_point }} between 0 and 55295 or {{ code_point }} between 57344 and 65535
            then decode(unhex(lpad(hex({{ code_point }}), 4, '0')), 'UTF-16BE')
        when {{ code_point }} between 65536 and 1114111
            then decode(
                unhex(concat(
                    hex(55296 + shiftright({{ code_point }} - 65536, 10)), hex(56320 + (({{ code_point }} - 65536) & 1023))
                )),
                'UTF-16BE'
            )
    end
{%- endmacro %}


{% macro windows_1252() -%}
    {{- return({
        128: '€', 130: '‚', 131: 'ƒ', 132: '„', 133: '…', 134: '†', 135: '‡', 136: 'ˆ', 137: '‰', 138: 'Š',
        139: '‹', 140: 'Œ', 142: 'Ž', 145: '‘', 146: '’', 147: '“', 148: '”', 149: '•', 150: '–', 151: '—',
        152: '˜', 153: '™', 154: 'š', 155: '›', 156: 'œ', 158: 'ž', 159: 'Ÿ',
    }) -}}
{%- endmacro %}


{% macro named_entities() -%}
    {{- return({
        'quot': '"', 'apos': "'", 'lt': '<', 'gt': '>', 'nbsp': ' ', 'iexcl': '¡', 'cent': '¢', 'pound': '£',
        'curren': '¤', 'yen': '¥', 'brvbar': '¦', 'sect': '§', 'uml': '¨', 'copy': '©', 'ordf': 'ª',
        'laquo': '«', 'not': '¬', 'shy': '', 'reg': '®', 'macr': '¯', 'deg': '°', 'plusmn': '±',
        'sup2': '²', 'sup3': '³', 'acute': '´', 'micro': 'µ', 'para': '¶', 'middot': '·', 'cedil': '¸',
        'sup1': '¹', 'ordm': 'º', 'raquo': '»', 'frac14': '¼', 'frac12': '½', 'frac34': '¾', 'iquest': '¿',
        'Agrave': 'À', 'Aacute': 'Á', 'Acirc': 'Â', 'Atilde': 'Ã', 'Auml': 'Ä', 'Aring': 'Å', 'AElig': 'Æ',
        'Ccedil': 'Ç', 'Egrave': 'È', 'Eacute': 'É', 'Ecirc': 'Ê', 'Euml': 'Ë', 'Igrave': 'Ì', 'Iacute': 'Í',
        'Icirc': 'Î', 'Iuml': 'Ï', 'ETH': 'Ð', 'Ntilde': 'Ñ', 'Ograve': 'Ò', 'Oacute': 'Ó', 'Ocirc': 'Ô',
        'Otilde': 'Õ', 'Ouml': 'Ö', 'times': '×', 'Oslash': 'Ø', 'Ugrave': 'Ù', 'Uacute': 'Ú', 'Ucirc': 'Û',
        'Uuml': 'Ü', 'Yacute': 'Ý', 'THORN': 'Þ', 'szlig': 'ß', 'agrave': 'à', 'aacute': 'á', 'acirc': 'â',
        'atilde': 'ã', 'auml': 'ä', 'aring': 'å', 'aelig': 'æ', 'ccedil': 'ç', 'egrave': 'è', 'eacute': 'é',
        'ecirc': 'ê', 'euml': 'ë', 'igrave': 'ì', 'iacute': 'í', 'icirc': 'î', 'iuml': 'ï', 'eth': 'ð',
        'ntilde': 'ñ', 'ograve': 'ò', 'oacute': 'ó', 'ocirc': 'ô', 'otilde': 'õ', 'ouml': 'ö', 'divide': '÷',
        'oslash': 'ø', 'ugrave': 'ù', 'uacute': 'ú', 'ucirc': 'û', 'uuml': 'ü', 'yacute': 'ý', 'thorn': 'þ',
        'yuml': 'ÿ', 'OElig': 'Œ', 'oelig': 'œ', 'Scaron': 'Š', 'scaron': 'š', 'Yuml': 'Ÿ', 'fnof': 'ƒ',
        'circ': 'ˆ', 'tilde': '˜', 'ensp': ' ', 'emsp': ' ', 'thinsp': ' ', 'ndash': '–', 'mdash': '—',
        'lsquo': '‘', 'rsquo': '’', 'sbquo': '‚', 'ldquo': '“', 'rdquo': '”', 'bdquo': '„', 'dagger': '†',
        'Dagger': '‡', 'bull': '•', 'hellip': '…', 'permil': '‰', 'prime': '′', 'Prime': '″', 'lsaquo': '‹',
        'rsaquo': '›', 'euro': '€', 'trade': '™', 'minus': '−', 'le': '≤', 'ge': '≥', 'ne': '≠',
        'infin': '∞', 'asymp': '≈', 'radic': '√', 'Omega': 'Ω', 'Delta': 'Δ', 'alpha': 'α', 'beta': 'β',
        'gamma': 'γ', 'delta': 'δ', 'lambda': 'λ', 'mu': 'μ', 'pi': 'π', 'larr': '←', 'rarr': '→',
    }) -}}
{%- endmacro %}


{% macro is_markup(text) -%}
    {{ adapter.dispatch('is_markup')(text) }}
{%- endmacro %}


{% macro default__is_markup(text) -%}
    {%- set patterns = [
        '</?(' ~ tags_of_pages() ~ ')(\\s+[a-z-]+\\s*=|\\s*/?>)',
        '<(span|script|style|img|div)\\b',
        '<!--|"\\s*/>\\s*$',
        '[.#@][a-z][\\w-]*[^{}]*\\{[^{}]*:',
        '(^|\\s)(var\\s+[a-z_]\\w*\\s*=|function\\s*\\()',
    ] -%}
    regexp_matches({{ text }}, '{{ patterns | join("|") }}', 'i')
{%- endmacro %}


{#-
    The same as Java reads it: there `\b` knows letters that are not English and `$` stops before a last line end. `(?i)` is
    for English letters there, so that the two others that RE2 takes for an s and a k are named; with `(?u)` it would take
    two more for an i.
-#}
{% macro spark__is_markup(text) -%}
    {%- set tags = tags_of_pages() | replace('s', '[sſ]') | replace('k', '[kK]') -%}
    {%- set space, word = '[\\t\\n\\f\\r ]', '[0-9a-zſK_]' -%}
    {%- set patterns = [
        '</?(' ~ tags ~ ')(' ~ space ~ '+[a-zſK-]+' ~ space ~ '*=|' ~ space ~ '*/?>)',
        '<([sſ]pan|[sſ]cript|[sſ]tyle|img|div)(?![0-9a-z_])',
        '<!--|"' ~ space ~ '*/>' ~ space ~ '*\\z',
        '[.#@][a-zſK][^{}]*\\{[^{}]*:',
        '(^|' ~ space ~ ')(var' ~ space ~ '+[a-zſK_]' ~ word ~ '*' ~ space ~ '*=|function' ~ space ~ '*\\()',
    ] -%}
    regexp_like({{ text }}, r'(?i){{ patterns | join("|") }}')
{%- endmacro %}


{% macro tags_of_pages() -%}
    {{- return(
        'a|abbr|b|body|br|button|center|div|em|font|form|h[1-6]|head|hr|html|i|iframe|img|input|label|li|'
        ~ 'link|meta|noscript|ol|option|p|s|script|select|small|span|strong|style|sub|sup|table|tbody|td|th|thead|tr|u|ul'
    ) -}}
{%- endmacro %}


{% macro trimmed(text) -%}
    {{ adapter.dispatch('trimmed')(text) }}
{%- endmacro %}


{% macro default__trimmed(text) -%}
    trim({{ text }})
{%- endmacro %}


{#- Spark's `trim` knows the plain blank alone. -#}
{% macro spark__trimmed(text) -%}
    regexp_replace({{ text }}, r'\A\p{Zs}+|\p{Zs}+\z', '')
{%- endmacro %}


{% macro text_of_bytes(bytes) -%}
    {{ adapter.dispatch('text_of_bytes')(bytes) }}
{%- endmacro %}


{% macro default__text_of_bytes(bytes) -%}
    coalesce(try(decode({{ bytes }})), {{ bytes }}::varchar)
{%- endmacro %}


{% macro spark__text_of_bytes(bytes) -%}
    coalesce(
        try_validate_utf8(cast({{ bytes }} as string)),
        array_join(
            transform(
                regexp_extract_all(hex({{ bytes }}), '..', 0),
                byte -> if(
                    byte between '20' and '7E' and byte not in ('22', '27', '5C'),
                    cast(unhex(byte) as string),
                    concat(r'\x', byte)
                )
            ),
            ''
        )
    )
{%- endmacro %}
