using System.Globalization;
using System.Text;

namespace LongCtx.Engine.Templates;

internal enum TokenKind
{
    Text,
    PrintBegin,
    PrintEnd,
    BlockBegin,
    BlockEnd,
    Name,
    String,
    Integer,
    Float,
    Operator,
    End,
}

/// <param name="Value">Text as it will be used: strings without quotes, numbers without underscores.</param>
internal readonly record struct Token(TokenKind Kind, string Value, int Line);

/// <summary>
/// Cuts a template into tokens, with the settings that chat templates are written for: trim_blocks (a newline after a block goes),
/// lstrip_blocks (blanks before a block that begins a line go), and the one newline at the end of the file goes.
/// </summary>
internal sealed class Lexer
{
    static readonly string[] Operators =
        ["//", "**", "==", "!=", ">=", "<=", "+", "-", "*", "/", "%", "~", "(", ")", "[", "]", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";"];

    readonly string _source;
    readonly List<Token> _tokens = [];
    int _position, _line = 1, _countedTo;

    /// <summary>Whether the last tag took its line's end along, so that what follows begins a line.</summary>
    bool _atLineStart = true;

    Lexer(string source) => _source = source;

    public static List<Token> Read(string source)
    {
        source = source.Replace("\r\n", "\n", StringComparison.Ordinal).Replace('\r', '\n');
        if (source.EndsWith('\n')) source = source[..^1];
        Lexer lexer = new(source);
        lexer.ReadAll();
        return lexer._tokens;
    }

    void ReadAll()
    {
        while (_position < _source.Length)
        {
            int begin = NextTag(_position);
            ReadText(_position, begin, begin < _source.Length ? _source[begin + 1] : '\0');
            if (begin == _source.Length) break;
            _position = begin;
            switch (_source[begin + 1])
            {
                case '#':
                    SkipComment();
                    break;
                case '%' when RawBegin() is { } contentStart:
                    ReadRaw(contentStart);
                    break;
                case '%':
                    ReadTag(TokenKind.BlockBegin, TokenKind.BlockEnd, "%}");
                    break;
                default:
                    ReadTag(TokenKind.PrintBegin, TokenKind.PrintEnd, "}}");
                    break;
            }
        }
        Add(TokenKind.End, "", _source.Length);
    }

    int NextTag(int from)
    {
        for (int i = from; ; i++)
        {
            i = _source.IndexOf('{', i);
            if (i < 0 || i + 1 >= _source.Length) return _source.Length;
            if (_source[i + 1] is '{' or '%' or '#') return i;
        }
    }

    /// <summary>Adds the text before a tag, whose sign and kind decide about the white space at its end.</summary>
    void ReadText(int start, int end, char tag)
    {
        char sign = end + 2 < _source.Length ? _source[end + 2] : '\0';
        int textEnd = end;
        if (tag != '\0' && sign == '-')
        {
            while (textEnd > start && Values.IsSpace(_source[textEnd - 1])) textEnd--;
        }
        else if (tag is '%' or '#' && sign != '+') textEnd = WithoutIndent(start, end);
        if (textEnd > start) Add(TokenKind.Text, _source[start..textEnd], start);
    }

    int WithoutIndent(int start, int end)
    {
        int lineStart = end;
        while (lineStart > start && Values.IsSpace(_source[lineStart - 1]) && _source[lineStart - 1] != '\n') lineStart--;
        bool begins = lineStart > start ? _source[lineStart - 1] == '\n' : _atLineStart;
        return begins ? lineStart : end;
    }

    void SkipComment()
    {
        int start = _position, end = _source.IndexOf("#}", _position + 2, StringComparison.Ordinal);
        if (end < 0) throw Error("comment is not closed with #}", start);
        AfterTag(end, _source[end - 1], trimNewline: true);
    }

    /// <summary>Continues after the two characters that end a tag, at <paramref name="end"/>, before which stands <paramref name="sign"/>.</summary>
    void AfterTag(int end, char sign, bool trimNewline)
    {
        _position = end + 2;
        if (sign == '-')
        {
            while (_position < _source.Length && Values.IsSpace(_source[_position])) _position++;
        }
        else if (trimNewline && sign != '+' && _position < _source.Length && _source[_position] == '\n') _position++;
        _atLineStart = _source[_position - 1] == '\n';
    }

    /// <summary>Where the content begins if a {% raw %} stands here.</summary>
    int? RawBegin() => TagNamed("raw", _position) is { } end ? end : null;

    /// <summary>End (before its %}) of a block tag that consists of one word.</summary>
    int? TagNamed(string name, int position)
    {
        int i = position + 2;
        if (i < _source.Length && _source[i] is '-' or '+') i++;
        while (i < _source.Length && Values.IsSpace(_source[i])) i++;
        if (string.CompareOrdinal(_source, i, name, 0, name.Length) != 0) return null;
        i += name.Length;
        while (i < _source.Length && Values.IsSpace(_source[i])) i++;
        if (i < _source.Length && _source[i] is '-' or '+') i++;
        return string.CompareOrdinal(_source, i, "%}", 0, 2) == 0 ? i : null;
    }

    void ReadRaw(int tagEnd)
    {
        int start = _position;
        AfterTag(tagEnd, _source[tagEnd - 1], trimNewline: false);
        int content = _position;
        for (int i = content; ; i++)
        {
            i = i < _source.Length ? _source.IndexOf("{%", i, StringComparison.Ordinal) : -1;
            if (i < 0) throw Error("{% raw %} is not closed with {% endraw %}", start);
            if (TagNamed("endraw", i) is not { } end) continue;
            ReadText(content, i, '%');
            AfterTag(end, _source[end - 1], trimNewline: true);
            return;
        }
    }

    void ReadTag(TokenKind begin, TokenKind end, string close)
    {
        int start = _position, open = 0;
        Add(begin, "", start);
        _position += 2;
        if (_position < _source.Length && _source[_position] is '-' or '+') _position++;
        while (true)
        {
            while (_position < _source.Length && Values.IsSpace(_source[_position])) _position++;
            if (_position >= _source.Length) throw Error($"tag is not closed with {close}", start);
            if (open == 0 && CloseAt(close) is { } sign)
            {
                Add(end, "", _position);
                AfterTag(sign == '\0' ? _position : _position + 1, sign, trimNewline: end == TokenKind.BlockEnd);
                return;
            }
            ReadToken(ref open);
        }
    }

    /// <summary>The sign of the closing mark that stands here, '\0' without one; null where none stands.</summary>
    char? CloseAt(string close)
    {
        if (At(_position, close)) return '\0';
        char sign = _source[_position];
        return (sign == '-' || (sign == '+' && close == "%}")) && At(_position + 1, close) ? sign : null;
    }

    bool At(int position, string text) => string.CompareOrdinal(_source, position, text, 0, text.Length) == 0;

    void ReadToken(ref int open)
    {
        int start = _position;
        char c = _source[start];
        if (char.IsLetter(c) || c == '_')
        {
            while (_position < _source.Length && (char.IsLetterOrDigit(_source[_position]) || _source[_position] == '_')) _position++;
            Add(TokenKind.Name, _source[start.._position], start);
        }
        else if (char.IsAsciiDigit(c)) ReadNumber();
        else if (c is '\'' or '"') ReadString(c);
        else if (Array.Find(Operators, o => At(start, o)) is { } symbol)
        {
            open += symbol is "(" or "[" or "{" ? 1 : symbol is ")" or "]" or "}" ? -1 : 0;
            if (open < 0) throw Error($"unexpected '{symbol}'", start);
            _position += symbol.Length;
            Add(TokenKind.Operator, symbol, start);
        }
        else throw Error($"unexpected character '{c}'", start);
    }

    void ReadNumber()
    {
        int start = _position;
        bool isFloat = false;
        Digits();
        if (_position + 1 < _source.Length && _source[_position] == '.' && char.IsAsciiDigit(_source[_position + 1]))
        {
            isFloat = true;
            _position++;
            Digits();
        }
        int exponent = _position + 1;
        if (_position < _source.Length && _source[_position] is 'e' or 'E')
        {
            if (exponent < _source.Length && _source[exponent] is '+' or '-') exponent++;
            if (exponent < _source.Length && char.IsAsciiDigit(_source[exponent]))
            {
                isFloat = true;
                _position = exponent;
                Digits();
            }
        }
        Add(isFloat ? TokenKind.Float : TokenKind.Integer, _source[start.._position].Replace("_", "", StringComparison.Ordinal), start);

        void Digits()
        {
            while (_position < _source.Length && (char.IsAsciiDigit(_source[_position]) || _source[_position] == '_')) _position++;
        }
    }

    void ReadString(char quote)
    {
        int start = _position++;
        StringBuilder text = new();
        while (true)
        {
            if (_position >= _source.Length) throw Error("string is not closed", start);
            char c = _source[_position++];
            if (c == quote) break;
            if (c != '\\') text.Append(c);
            else ReadEscape(text, start);
        }
        Add(TokenKind.String, text.ToString(), start);
    }

    /// <summary>Python's escapes; an unknown one stays as it is.</summary>
    void ReadEscape(StringBuilder text, int start)
    {
        if (_position >= _source.Length) throw Error("string is not closed", start);
        char c = _source[_position++];
        switch (c)
        {
            case '\n': break;
            case 'n': text.Append('\n'); break;
            case 't': text.Append('\t'); break;
            case 'r': text.Append('\r'); break;
            case 'a': text.Append('\a'); break;
            case 'b': text.Append('\b'); break;
            case 'f': text.Append('\f'); break;
            case 'v': text.Append('\v'); break;
            case '\\' or '\'' or '"': text.Append(c); break;
            case 'x': Scalar(2, 16); break;
            case 'u': Scalar(4, 16); break;
            case 'U': Scalar(8, 16); break;
            case >= '0' and <= '7':
                _position--;
                int digits = 1;
                while (digits < 3 && _position + digits < _source.Length && _source[_position + digits] is >= '0' and <= '7') digits++;
                Scalar(digits, 8);
                break;
            default: text.Append('\\').Append(c); break;
        }

        void Scalar(int digits, int radix)
        {
            ReadOnlySpan<char> span = _source.AsSpan(_position, Math.Min(digits, _source.Length - _position));
            long value = 0;
            foreach (char d in span) value = char.IsAsciiHexDigit(d) ? value * radix + Convert.ToInt32(d.ToString(), 16) : long.MaxValue >> 8;
            if (span.Length < digits || value > 0x10FFFF) throw Error($"bad escape \\{c} in a string", start);
            // A lone surrogate cannot be encoded; a pair of \u escapes forms one character.
            text.Append(value > 0xFFFF ? char.ConvertFromUtf32((int)value) : ((char)value).ToString(CultureInfo.InvariantCulture));
            _position += digits;
        }
    }

    void Add(TokenKind kind, string value, int position) => _tokens.Add(new Token(kind, value, LineAt(position)));

    int LineAt(int position)
    {
        for (; _countedTo < position; _countedTo++) if (_source[_countedTo] == '\n') _line++;
        return _line;
    }

    ChatTemplateException Error(string problem, int position) => new(problem, 1 + _source.AsSpan(0, position).Count('\n'));
}
