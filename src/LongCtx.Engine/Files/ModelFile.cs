using System.Diagnostics.CodeAnalysis;

namespace LongCtx.Engine.Files;

/// <summary>
/// Named tensors, read-only, at fixed addresses until <see cref="Dispose()"/>. All sizes and offsets were checked when the file was
/// opened, so <see cref="Data"/> needs no check. The bytes of a tensor need not be aligned to its element size: use unaligned loads.
/// </summary>
public abstract class ModelFile(
    string path, IReadOnlyDictionary<string, TensorInfo> tensors, IReadOnlyDictionary<string, UnsupportedTensor> unsupported) : IDisposable
{
    /// <summary>The file as given; of a sharded model its index.</summary>
    public string Path { get; } = path;

    public IReadOnlyDictionary<string, TensorInfo> Tensors { get; } = tensors;

    public IReadOnlyDictionary<string, UnsupportedTensor> Unsupported { get; } = unsupported;

    /// <summary>Address of the tensor's <see cref="TensorInfo.ByteLength"/> bytes, valid until <see cref="Dispose()"/>.</summary>
    public abstract unsafe byte* Data(TensorInfo tensor);

    /// <summary>The file that holds this tensor.</summary>
    public virtual string PathOf(TensorInfo tensor) => Path;

    /// <summary>The whole tensor; one beyond 2 GiB has to be read by <see cref="Row"/> or <see cref="Data"/>.</summary>
    public unsafe ReadOnlySpan<byte> Bytes(TensorInfo tensor) => new(Data(tensor), checked((int)tensor.ByteLength));

    public unsafe ReadOnlySpan<byte> Row(TensorInfo tensor, long row)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(row);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(row, tensor.Rows);
        return new(Data(tensor) + row * tensor.RowBytes, checked((int)tensor.RowBytes));
    }

    public bool TryFind(string name, [NotNullWhen(true)] out TensorInfo? tensor)
    {
        if (Tensors.TryGetValue(name, out tensor)) return true;
        if (Unsupported.TryGetValue(name, out UnsupportedTensor? other))
            throw new ModelFileException(Path, other.Offset,
                $"tensor '{name}' is stored as {other.Type}, which LongCtx does not read; convert the model to one of {TensorTypes.Names}");
        return false;
    }

    public TensorInfo Require(string name) => TryFind(name, out TensorInfo? tensor)
        ? tensor
        : throw new ModelFileException(Path, 0, $"tensor '{name}' is missing");

    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    protected abstract void Dispose(bool disposing);
}
