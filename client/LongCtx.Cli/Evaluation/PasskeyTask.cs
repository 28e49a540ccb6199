namespace LongCtx.Cli.Evaluation;

/// <summary>A prompt that hides a key, and where its parts lie (token offsets).</summary>
/// <param name="Answer">Tokens of the key, as the prompt would be continued.</param>
/// <param name="KeyEnd">First token after the sentence with the key.</param>
/// <param name="QuestionStart">First token of the question; minus <paramref name="KeyEnd"/> that is the depth.</param>
internal sealed record PasskeyPrompt(int[] Tokens, string Key, int[] Answer, int KeyEnd, int QuestionStart);

/// <summary>
/// The passkey task of the long-context literature (Mohtashami and Jaggi 2023): five digits in a lot of irrelevant text, asked for at the end.
/// Lengths are exact in tokens: the parts are tokenised apart and the filler is cut to size. Where the blank before a number is a token
/// of its own, the question ends with it: what is asked for is the number, not whether an article would come first.
/// </summary>
/// <remarks><code>
///   opening | instruction | filler, the rest | key | filler, depth tokens | question
///                                                  ^ KeyEnd               ^ QuestionStart      ^ length
/// </code></remarks>
internal sealed class PasskeyTask
{
    const string Instruction =
        "There is an important info hidden inside a lot of irrelevant text. Find it and memorize it. I will quiz you about the important information there.";

    const string Repeated = "\nThe grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.";

    readonly Func<string, int[]> _encode;
    readonly int[] _head;
    readonly int[] _question;
    readonly int[] _newline;
    readonly int[] _blank;
    readonly int[]? _book;
    readonly int[] _line;

    /// <param name="encode">The model's tokenizer, nothing added.</param>
    /// <param name="book">Text to fill with; null repeats one line.</param>
    /// <param name="opening">What the chat template puts before the user's text; empty without template.</param>
    /// <param name="closing">What it puts between the user's text and the reply.</param>
    public PasskeyTask(Func<string, int[]> encode, string? book, string opening = "", string closing = "")
    {
        _encode = encode;
        _head = encode(opening + Instruction);
        _question = encode("\nWhat is the pass key?" + (closing.Length == 0 ? " " : closing) + "The pass key is");
        _newline = encode("\n");
        _blank = encode(" ");
        _line = encode(Repeated);
        _book = book is null ? null : encode(book);
    }

    /// <param name="length">Tokens of the whole prompt.</param>
    /// <param name="depth">Tokens between the key's sentence and the question.</param>
    public PasskeyPrompt Create(int length, int depth, Random random)
    {
        string key = random.Next(10_000, 100_000).ToString(System.Globalization.CultureInfo.InvariantCulture);
        int[] sentence = _encode($"\nThe pass key is {key}. Remember it. {key} is the pass key.");
        int[] answer = _encode(" " + key), question = _question;
        if (answer.AsSpan().StartsWith(_blank)) (answer, question) = (answer[_blank.Length..], [.. question, .. _blank]);
        int before = length - depth - _head.Length - sentence.Length - question.Length;
        if (before < 0)
        {
            throw new LongCtxException(ErrorCode.InvalidRequest,
                $"--depth {depth} does not fit --length {length}: instruction, key and question take {length - depth - before} tokens, so the depth is at most {depth + before}",
                "depth");
        }

        var tokens = new List<int>(length);
        tokens.AddRange(_head);
        if (_book is null)
        {
            // The last tokens of the repeated line, so that the key's sentence begins a line.
            for (int i = 0; i < before; i++) tokens.Add(_line[(_line.Length - before % _line.Length + i) % _line.Length]);
            tokens.AddRange(sentence);
            for (int i = 0; i < depth; i++) tokens.Add(_line[i % _line.Length]);
        }
        else
        {
            ReadOnlySpan<int> page = Page(before + depth, random);
            AddParagraph(tokens, page[..before]);
            tokens.AddRange(sentence);
            AddParagraph(tokens, page[before..]);
        }

        tokens.AddRange(question);
        int questionStart = length - question.Length;
        return new([.. tokens], key, answer, questionStart - depth, questionStart);
    }

    ReadOnlySpan<int> Page(int size, Random random)
    {
        if (_book!.Length < size)
        {
            throw new LongCtxException(ErrorCode.InvalidRequest,
                $"--file has only {_book.Length} tokens, but the filler needs {size}: give a longer text or a smaller --length", "file");
        }

        return _book.AsSpan(random.Next(_book.Length - size + 1), size);
    }

    /// <summary>The text as a paragraph of its own; the line end takes the place of its first tokens.</summary>
    void AddParagraph(List<int> tokens, ReadOnlySpan<int> text)
    {
        int lead = Math.Min(_newline.Length, text.Length);
        tokens.AddRange(_newline.AsSpan(0, lead));
        tokens.AddRange(text[lead..]);
    }
}
